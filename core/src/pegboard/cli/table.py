"""Every command of core: where it is, and the line that `--help` shows for it."""

from __future__ import annotations

from pegboard.cli.groups import core, group

AGENTS = {
    "list": core("agents:list_agents", "List the agents that can be run by name."),
    "info": core("agents:info", "Show one agent: model, tools, limits, dependencies."),
    "validate": core("agents:validate", "Check agents in a file, a module or all installed ones."),
}

CONFIG = {
    "show": core("settings:show", "Show every setting that is in force."),
    "explain": core("settings:explain", "Show where a setting comes from and what it overrode."),
    "schema": core("settings:schema", "Print the JSON Schema of config.toml."),
    "set": core("settings:set_value", "Write a setting into a config.toml."),
}

MODELS = {
    "list": core("models:list_models", "List what can be named as a model now, and what would be chosen."),
    "check": core("models_check:check", "Check a model: key, server, what it can do, what it costs."),
}

PLUGINS = {
    "list": core("plugins_list:list_plugins", "List plugins and their states."),
    "info": core("plugins_list:info", "Show one plugin: what it offers, asks for, and where it is."),
    "why": core("plugins_list:why", "Tell who provides a tool, and why it is (not) offered."),
    "order": core("plugins_order:order", "Show in which order the implementations of a hook run."),
    "trace": core("plugins_order:trace", "Run a task and show each call of a hook."),
    "install": core("plugins_install:install", "Install a plugin into the environment of this `peg`."),
    "uninstall": core("plugins_install:uninstall", "Remove a plugin, its permissions and settings."),
    "update": core("plugins_install:update", "Update a plugin, or all of them."),
    "enable": core("plugins_switch:enable", "Switch a plugin on, or out of quarantine."),
    "disable": core("plugins_switch:disable", "Switch a plugin off."),
    "grant": core("plugins_switch:grant", "Grant the permissions that a plugin asks for."),
    "revoke": core("plugins_switch:revoke", "Take the permissions of a plugin back."),
    "doctor": core("plugins_doctor:doctor", "Look for faults of plugins and name the command that fixes each."),
    "lock": core("plugins_lock:lock", "Write plugins, versions, hashes and order to a lock file."),
    "verify": core("plugins_lock:verify", "Compare what is installed with the lock file."),
    "reindex": core("plugins_list:reindex", "Put an interrupted install in order and scan again."),
    "new": core("plugins_author:new", "Write a new plugin from the template."),
    "link": core("plugins_author:link", "Use the plugin in a folder without installing it."),
    "validate": core("plugins_author:validate", "Check a manifest, and that it agrees with the code."),
    "compile": core("plugins_author:compile_manifest", "Write the manifest from the code."),
    "check": core("plugins_author:check", "Run the conformance suite on a plugin."),
}

RUNS = {
    "list": core("runs:list_runs", "List runs, newest first."),
    "show": core("runs:show", "Show how a run went: its phases, steps and child runs in time."),
    "events": core("runs:events", "Print the events of a run, also while it goes on."),
    "prompt": core("runs:prompt", "Print what was sent to the model, exactly."),
    "context": core("runs:context", "Show what each part of a context cost, and what was dropped and why."),
    "explain": core("runs:explain", "Show which plugins were called around a request, and what they changed."),
    "diff": core("runs:diff", "Show where two runs part."),
    "resume": core("runs_keep:resume", "Go on with a run that was interrupted."),
    "fork": core("runs_keep:fork", "Copy a run up to a step, to go on otherwise."),
    "replay": core("runs_keep:replay", "Run it again from its record alone."),
    "resolve": core("runs_keep:resolve", "Say what became of an unsafe step that was cut off."),
    "export": core("runs_keep:export", "Write a run and its child runs as JSON lines."),
    "prune": core("runs_keep:prune", "Forget runs."),
}

COMMANDS = {
    "init": core("init:init", "Write a starting project: an agent, a tool, a configuration."),
    "run": core("run:run", "Run a task, or an agent on a task."),
    "runs": group("runs", "Look at runs, go on with them, copy, replay and forget them.", RUNS),
    "agents": group("agents", "List and check agents.", AGENTS),
    "models": group("models", "List models, and check whether one can be used.", MODELS),
    "plugins": group("plugins", "Install, inspect, repair and write plugins.", PLUGINS),
    "config": group("config", "Show and change settings.", CONFIG),
    "doctor": core("doctor:doctor", "Check that everything pegboard needs is in order."),
    "help": core("pages:show_help", "Explain an error code or a topic."),
    "completion": core("completion:completion", "Print the completion script of a shell."),
}

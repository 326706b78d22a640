# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_holdfast_global_optspecs
    string join \n h/help V/version
end

function __fish_holdfast_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_holdfast_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_holdfast_using_subcommand
    set -l cmd (__fish_holdfast_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c holdfast -n "__fish_holdfast_needs_command" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_needs_command" -s V -l version -d 'Print version'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "run" -d 'Runs the agent until it is told to stop'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "check" -d 'Prints the configuration in force, with every default; or every fault, with its line and column'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "test" -d 'Tests each link and the broker step by step: name, TCP, TLS, upgrade, credentials, ping'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "doctor" -d 'Looks at configuration, clock, disk, card, permissions, limits, names, certificates and links, and says what to do'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "report" -d 'Writes one file for support: version, configuration, status, findings, log, machine and files, without secrets'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "status" -d 'Shows links, buffer, servers and devices of the running agent'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "tap" -d 'Shows live what the running agent takes, stores, sends and has confirmed'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "reload" -d 'Makes the running agent take over its configuration as it is on the disk'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "send" -d 'Hands a message to the running agent and waits until it is stored'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "client" -d 'Lists, shows, connects, adds and changes the links to the outside'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "server" -d 'Lists, shows, adds and removes the listeners for sensors'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "source" -d 'Lists, shows, tests and changes the sources that fetch messages: the topics of a broker'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "buffer" -d 'Looks into the messages that are held, takes them out and puts them in, checks and repairs the store'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "config" -d 'Tells what can be configured'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "receive" -d 'Receives what an agent sends: prints it, acknowledges it, counts what is missing'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "hash-password" -d 'Asks for a password and prints its hash, for `password_hash` of a user'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "demo" -d 'Shows in half a minute what happens when a link is cut and the agent is killed'
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l rejected -d 'File that says why a newer configuration was rejected before this start, if it is there: the status tells it' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l log-format -d 'How a line of the log looks, in place of `format` in [log]: text, or json for an object a line' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l json -d 'Print JSON: {"config":…,"files":[…],"warnings":[…]}, or {"errors":[…]}'
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l watch -d 'Test again each INTERVAL until interrupted, 5s by default; with --json a line each time' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -l json -d 'Print the results in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand test" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -l json -d 'Print the findings in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -s o -l output -d 'The file to write, - for standard output; holdfast-report-AGENT-TIME.txt here by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l lines -d 'Lines of the log, if the journal has it' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand report" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l watch -d 'Show it again each INTERVAL until interrupted, 1s by default; with --json a line each time' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l application -d 'Show only the links and servers that belong to this application' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l json -d 'Print the status as the agent gives it, in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l alive -d 'Only tell whether the agent answers: exit code 0 if it does, whatever does not work, else 2'
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -l json -d 'Print lines of JSON, as the agent gives them'
complete -c holdfast -n "__fish_holdfast_using_subcommand tap" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -l json -d 'Print the answer in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand reload" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l device -d 'Device that the message speaks for' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l timeout -d 'How long to try while the agent is busy' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -l lines -d 'Make every line a message'
complete -c holdfast -n "__fish_holdfast_using_subcommand send" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "list" -d 'Lists the clients with their state'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "show" -d 'Shows every parameter of a client, and the state of its link'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "connect" -d 'Has the running agent dial a client now, whatever its back-off says'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "disconnect" -d 'Has the running agent close the connection of a client and stay away, holding its messages'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "add" -d 'Adds a client to the configuration file'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "remove" -d 'Removes a client from the file; what the store holds for it stays there under its id'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "enable" -d 'Sets active = true'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and not __fish_seen_subcommand_from list show connect disconnect add remove enable disable" -f -a "disable" -d 'Sets active = false: the client holds its messages and never connects'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -l json -d 'Print it in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -l json -d 'Print JSON: {"configuration":…,"file":…,"status":…}'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from connect" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disconnect" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l id -d 'Its id; ws_client_N by default' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l name -d 'A name for people' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l description -d 'A description for people' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l set -d 'Set any other key of the table' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -l inactive -d 'Set active = false'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand client; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -f -a "list" -d 'Lists the servers with their addresses'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -f -a "show" -d 'Shows every parameter of a server and of its routes'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -f -a "add" -d 'Adds a server to the configuration file'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -f -a "remove" -d 'Removes a server with its routes from the file'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -f -a "enable" -d 'Sets active = true'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and not __fish_seen_subcommand_from list show add remove enable disable" -f -a "disable" -d 'Sets active = false: the server binds nothing'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -l json -d 'Print it in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -l json -d 'Print JSON: {"configuration":…,"file":…,"status":…}'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l id -d 'Its id; ws_server_N by default' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l set -d 'Set any other key of the table' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand server; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -f -a "list" -d 'Lists the sources with their state'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -f -a "show" -d 'Shows every parameter of a source, and the state of its link'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -f -a "test" -d 'Tests the broker of a source step by step: name, TCP, TLS, CONNACK, credentials, subscriptions, the broker itself, ping'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -f -a "remove" -d 'Removes a source from the file; what its broker holds for it stays there'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -f -a "enable" -d 'Sets active = true'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and not __fish_seen_subcommand_from list show test remove enable disable" -f -a "disable" -d 'Sets active = false: nothing is fetched'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -l json -d 'Print it in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -l json -d 'Print JSON: {"configuration":…,"file":…,"status":…}'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -l json -d 'Print the results in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand source; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "info" -d 'Shows how the store stands: what it holds, what it takes, what is dead or damaged'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "list" -d 'Lists the outlets with what the store holds for each'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "peek" -d 'Shows messages that are held, the oldest first, and takes nothing away'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "verify" -d 'Reads and checks every group and every file of the store, and says what is damaged'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "export" -d 'Writes all messages that are held, and takes nothing away'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "import" -d 'Hands the messages of an export to the running agent and waits until they are stored'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "repair" -d 'Repairs the store of a stopped agent as its next start would, and says what was done'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "purge" -d 'Gives up all messages that the store holds for an outlet; its peer is told of the gap'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and not __fish_seen_subcommand_from info list peek verify export import repair purge dead" -f -a "dead" -d 'Lists, shows, hands in again or drops the messages that peers refused'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -l json -d 'Print it in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from info" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -l json -d 'Print it in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l from -d 'First number to show' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l count -d 'How many of each outlet to show' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -l json -d 'Print lines of JSON, as an export has them'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from peek" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l json -d 'Print the result in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l format -d 'How to write them' -r -f -a "ndjson\t'A line of JSON each (NDJSON)'
cbor\t'A CBOR sequence (RFC 8742)'"
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l output -d 'Where to write them; standard output without it' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l to -d 'Outlet that takes all of them' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l timeout -d 'How long to try while the agent is busy' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l json -d 'Print what was done in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from repair" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l socket -d 'Control socket of the agent; it follows from the configuration by default' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l config -d 'Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l environment -d 'Table of variables to use: [environment.NAME]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l data-dir -d 'Folder of the store and the state' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l uplink -d 'Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l mqtt -d 'Url of the status broker: mqtt://… or mqtts://…' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l all -d 'Give up the messages of all outlets'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -l yes -d 'Do not ask'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from dead" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from dead" -f -a "list" -d 'Lists the dead letters'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from dead" -f -a "show" -d 'Shows a dead letter with all that the message has'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from dead" -f -a "requeue" -d 'Hands dead letters in again, each for the outlet whose peer refused it, and drops them once they are stored'
complete -c holdfast -n "__fish_holdfast_using_subcommand buffer; and __fish_seen_subcommand_from dead" -f -a "drop" -d 'Drops dead letters for good'
complete -c holdfast -n "__fish_holdfast_using_subcommand config; and not __fish_seen_subcommand_from reference" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand config; and not __fish_seen_subcommand_from reference" -f -a "reference" -d 'Prints every parameter with its default and its meaning, as tables in Markdown'
complete -c holdfast -n "__fish_holdfast_using_subcommand config; and __fish_seen_subcommand_from reference" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l listen -d 'Address to listen on; port 0 takes a free one, and standard error tells which' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l tls-cert -d 'PEM file with the certificate chain: listens for wss://' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l tls-key -d 'PEM file with its key' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l store -d 'Append the messages to this file instead of printing them' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l format -d 'What a line holds [default: payload for raw frames, json for envelopes]' -r -f -a "payload\t'The payload as it came'
json\t'A JSON object; for an envelope with epoch and number'"
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l ack-every -d 'Acknowledge each N messages, or when nothing more comes for 200 ms' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l exit-after -d 'End when N new messages have come' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l drop-after -d 'Reset each connection after N messages' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l close-after -d 'Close each connection after N messages' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l close-code -d 'Close code to use' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l silent-after -d 'Leave each connection open after N messages, read nothing, say nothing' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l die-after -d 'End the process at once after N messages of a connection, with code 137 and without flushing anything' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l nack -d 'Refuse the message with this number; may be given several times' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l slow -d 'Read no faster than this' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l misbehave-count -d 'Show these faults (but not --nack) only to the first K connections' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l refuse -d 'Answer requests for an upgrade with this HTTP status' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l retry-after -d 'Retry-After of such an answer' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l refuse-count -d 'Refuse only the first K requests' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l sync -d 'Sync the file before each acknowledgement'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l quiet -d 'Print no messages'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l show-duplicates -d 'Print messages that came before, too'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l summary-json -d 'Write the last line as JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l no-pong -d 'Never answer a ping'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -l no-ack -d 'Never acknowledge'
complete -c holdfast -n "__fish_holdfast_using_subcommand receive" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c holdfast -n "__fish_holdfast_using_subcommand hash-password" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand demo" -l seconds -d 'How long the story takes' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand demo" -l json -d 'Print nothing but the counts at the end, in JSON'
complete -c holdfast -n "__fish_holdfast_using_subcommand demo" -s h -l help -d 'Print help'

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_certmint_global_optspecs
    string join \n home= q/quiet v/verbose color= log-format= h/help V/version
end

function __fish_certmint_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_certmint_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_certmint_using_subcommand
    set -l cmd (__fish_certmint_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c certmint -n "__fish_certmint_needs_command" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_needs_command" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_needs_command" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_needs_command" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_needs_command" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_needs_command" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "ca" -d 'Run a private certificate authority'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "acme" -d 'Obtain certificates from a public CA, or any other that speaks ACME'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "renew" -d 'Renew every certificate that is due'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "inspect" -d 'Show what a file, a directory or a live endpoint holds, and what is wrong with it'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "serve" -d 'Serve what a file says, on any number of listeners'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "serve-ca" -d 'Serve over TLS with a certificate of the private CA'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "serve-acme" -d 'Serve over TLS with a certificate of a public CA, obtained and renewed by itself'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "serve-custom" -d 'Serve over TLS with a certificate and key from files'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "serve-insecure" -d 'Serve plain HTTP, for trying things out'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "health" -d 'Ask a running server whether it is ready; 0 when it is, 4 when not'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c certmint -n "__fish_certmint_needs_command" -f -a "generate" -d 'Render man pages or completion scripts into a directory'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "init" -d 'Make a root and an intermediate in one go'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "status" -d 'Show the hierarchy and everything issued, worst first'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "issue" -d 'Issue certificates for names, with new keys'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "sign" -d 'Issue a certificate for a certificate signing request'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "list" -d 'List the certificates ever issued, soonest to expire first'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "revoke" -d 'Revoke a certificate and sign a fresh CRL'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "crl" -d 'Sign a fresh CRL'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "rotate" -d 'Replace the intermediate or the root, without breaking clients'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "trust" -d 'Install the root where programs look for trusted roots'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "serve" -d 'Be an ACME server: whoever shows control over permitted names obtains certificates'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "eab" -d 'External account keys, by which the ACME server knows whom it serves'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "account" -d 'Accounts of the ACME server: who has one, and who may have it no more'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "backup" -d 'Copy the CA and its certificates into one archive, while it runs'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and not __fish_seen_subcommand_from init status issue sign list revoke crl rotate trust serve eab account backup restore" -f -a "restore" -d 'Bring a CA back from an archive'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l name -d 'Name of the CA, as it stands in its certificates [default: the host\'s name and "CA"] [env: CERTMINT_CA_INIT_NAME]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l org -d 'Organisation in the subjects [default: the CA\'s name] [env: CERTMINT_CA_INIT_ORG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l country -d 'Country in the subjects, two letters [env: CERTMINT_CA_INIT_COUNTRY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l key-type -d 'Key type of root and intermediate: p256, p384, ed25519, rsa3072, rsa4096 [env: CERTMINT_CA_INIT_KEY_TYPE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l root-days -d 'Life of the root in days [env: CERTMINT_CA_INIT_ROOT_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l intermediate-days -d 'Life of the intermediate in days [env: CERTMINT_CA_INIT_INTERMEDIATE_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l permit -d 'Constrain the CA to these domains and address ranges; repeatable or with commas [env: CERTMINT_CA_INIT_PERMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l crl-url -d 'Where the CRLs are published, for certificates that live over 7 days: a plain http directory, under which each issuer\'s list is `<issuer>.crl` [env: CERTMINT_CA_INIT_CRL_URL]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l passphrase-file -d 'Encrypt both keys with the passphrase on FILE\'s first line; `-` is standard input [env: CERTMINT_CA_INIT_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l root-passphrase-file -d 'Encrypt the root key with another passphrase than the intermediate\'s [env: CERTMINT_CA_INIT_ROOT_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l root-out -d 'Put the root key into DIR (a removable disk, say) and not into the state directory [env: CERTMINT_CA_INIT_ROOT_OUT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l encrypt -d 'Encrypt both keys and ask for the passphrase on the terminal [env: CERTMINT_CA_INIT_ENCRYPT]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l if-missing -d 'Do nothing when there is a CA already [env: CERTMINT_CA_INIT_IF_MISSING]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l force -d 'Replace the CA; the old one is moved to backup/'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -l json -d 'Print the result as JSON [env: CERTMINT_CA_INIT_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from init" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l days -d 'Count a certificate as due when it expires within N days, whatever its life [env: CERTMINT_CA_STATUS_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l fail-on -d 'Least severity that gives exit code 3 (warn) or 4 (critical) [env: CERTMINT_CA_STATUS_FAIL_ON]' -r -f -a "warn\t'Exit 3 on warnings, 4 on anything critical'
critical\t'Exit 4 on anything critical'
never\t'Exit 0 whatever is found'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l all -d 'Show every certificate, also a thousand healthy ones'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -l json -d 'Print the status as JSON [env: CERTMINT_CA_STATUS_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l from -d 'Issue one certificate for each line of FILE: `name[,name…]`; `-` is standard input [env: CERTMINT_CA_ISSUE_FROM]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l days -d 'Life in days, at most 825 [default: 90] [env: CERTMINT_CA_ISSUE_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l key-type -d 'Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 [env: CERTMINT_CA_ISSUE_KEY_TYPE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l id -d 'Keep it under this id instead of the first name [env: CERTMINT_CA_ISSUE_ID]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l out -d 'Copy key and chain into DIR, now and at each renewal (with --from: DIR/<id>) [env: CERTMINT_CA_ISSUE_OUT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l mode -d 'Mode of the copied files that hold a key, octal [env: CERTMINT_CA_ISSUE_MODE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l owner -d 'Owner of the copied files [env: CERTMINT_CA_ISSUE_OWNER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l group -d 'Group of the copied files [env: CERTMINT_CA_ISSUE_GROUP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l p12 -d 'Also write key and chain as PKCS#12 to FILE [env: CERTMINT_CA_ISSUE_P12]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l p12-passphrase-file -d 'Passphrase of the PKCS#12 file: FILE\'s first line; asked for on a terminal when not given [env: CERTMINT_CA_ISSUE_P12_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l deploy-hook -d 'Command to run after each renewal, split like a shell line but run without a shell [env: CERTMINT_CA_ISSUE_DEPLOY_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ISSUE_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l client -d 'For a client (mTLS) rather than a server [env: CERTMINT_CA_ISSUE_CLIENT]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l both -d 'For a client and a server [env: CERTMINT_CA_ISSUE_BOTH]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l reuse-key -d 'Renew with the same key instead of a new one [env: CERTMINT_CA_ISSUE_REUSE_KEY]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l csr-only -d 'Only make a key and a signing request, in the directory of --out; nothing is issued'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -l json -d 'Print the result as JSON [env: CERTMINT_CA_ISSUE_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from issue" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l name -d 'Issue for these names instead of those in the request; repeatable or with commas [env: CERTMINT_CA_SIGN_NAME]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l days -d 'Life in days, at most 825 [default: 90] [env: CERTMINT_CA_SIGN_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l out -d 'Write the chain to FILE instead of standard output [env: CERTMINT_CA_SIGN_OUT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_SIGN_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l client -d 'For a client (mTLS) rather than a server [env: CERTMINT_CA_SIGN_CLIENT]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -l both -d 'For a client and a server [env: CERTMINT_CA_SIGN_BOTH]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from sign" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l expiring -d 'Only what expires within this time, such as `30d` [env: CERTMINT_CA_LIST_EXPIRING]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l name -d 'Only certificates with a name like this; `*` and `?` stand for any characters [env: CERTMINT_CA_LIST_NAME]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l limit -d 'At most N rows [env: CERTMINT_CA_LIST_LIMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l revoked -d 'Only what was revoked [env: CERTMINT_CA_LIST_REVOKED]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l all -d 'Also what has expired'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -l json -d 'Print the list as JSON [env: CERTMINT_CA_LIST_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -l reason -d 'Why (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn [env: CERTMINT_CA_REVOKE_REASON]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_REVOKE_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -l json -d 'Print the result as JSON [env: CERTMINT_CA_REVOKE_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from revoke" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l out -d 'Write the CRL to FILE too; `-` is standard output [env: CERTMINT_CA_CRL_OUT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l days -d 'Days until the next CRL is due [env: CERTMINT_CA_CRL_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_CRL_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -l der -d 'Write DER instead of PEM [env: CERTMINT_CA_CRL_DER]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from crl" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "intermediate" -d 'A new intermediate under the same root'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "root" -d 'A new root, cross-signed by the old one, and an intermediate under it'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -f -a "install" -d 'Install the root'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -f -a "uninstall" -d 'Remove every root that certmint installed for this CA'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from trust" -f -a "status" -d 'Say where the root is trusted'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l https -d 'Address to answer ACME clients on, at /directory; port 0 takes a free one [env: CERTMINT_CA_SERVE_HTTPS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l http -d 'Address to publish the CRLs, the issuers\' certificates and the roots on; or `off` [env: CERTMINT_CA_SERVE_HTTP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_SERVE_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l permit -d 'Issue for these domains, with all below them, and address ranges, within the CA\'s own constraints; repeatable or with commas [default: the CA\'s own constraints] [env: CERTMINT_CA_SERVE_PERMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l days -d 'Life of a certificate in days when its order says nothing (profile `default`) [env: CERTMINT_CA_SERVE_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l public-url -d 'What its URLs begin with, when clients reach it in another way than it is served [default: https and the host that the client asks for] [env: CERTMINT_CA_SERVE_PUBLIC_URL]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l publish-url -d 'Where clients of certificates find the CRLs and the issuers, in certificates that live over 7 days [default: http, the first NAME and the port of --http] [env: CERTMINT_CA_SERVE_PUBLISH_URL]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l terms-of-service -d 'Terms of service that accounts have to agree to [env: CERTMINT_CA_SERVE_TERMS_OF_SERVICE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l website -d 'A page about this CA [env: CERTMINT_CA_SERVE_WEBSITE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l caa-identity -d 'Name of this CA in CAA records, which are looked at then; repeatable or with commas [env: CERTMINT_CA_SERVE_CAA_IDENTITY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l http01-port -d 'Port to look at http-01 on [env: CERTMINT_CA_SERVE_HTTP01_PORT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l tls-alpn01-port -d 'Port to look at tls-alpn-01 on [env: CERTMINT_CA_SERVE_TLS_ALPN01_PORT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l dns-server -d 'Name server to ask [default: the system\'s] [env: CERTMINT_CA_SERVE_DNS_SERVER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-accounts-per-client -d 'New accounts of one client (an IPv4 address, an IPv6 /64) in an hour; more are answered with 429 [default: 100] [env: CERTMINT_CA_SERVE_MAX_ACCOUNTS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-orders-per-account -d 'New orders of one account in an hour, each counted once for each of its names [default: 3000] [env: CERTMINT_CA_SERVE_MAX_ORDERS_PER_ACCOUNT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-orders-per-client -d 'New orders of one client, whatever its accounts, in an hour, each counted once for each of its names [default: 10000] [env: CERTMINT_CA_SERVE_MAX_ORDERS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-open-orders -d 'Unfinished orders of one account [default: 300] [env: CERTMINT_CA_SERVE_MAX_OPEN_ORDERS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-failures-per-name -d 'Failed validations of one account and name in an hour [default: 20] [env: CERTMINT_CA_SERVE_MAX_FAILURES_PER_NAME]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-certificates-per-name -d 'Certificates for one name in an hour; renewals that are due count apart [default: 100] [env: CERTMINT_CA_SERVE_MAX_CERTIFICATES_PER_NAME]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-validations -d 'Validations at the same time [default: 256] [env: CERTMINT_CA_SERVE_MAX_VALIDATIONS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l proxy-protocol-from -d 'Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_CA_SERVE_PROXY_PROTOCOL_FROM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-body -d 'Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_CA_SERVE_MAX_BODY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l rate-limit -d 'Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_CA_SERVE_RATE_LIMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-connections -d 'Connections at the same time; more wait [default: 16384] [env: CERTMINT_CA_SERVE_MAX_CONNECTIONS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l max-connections-per-client -d 'Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_CA_SERVE_MAX_CONNECTIONS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l header-timeout -d 'For the header of a request [default: 10s] [env: CERTMINT_CA_SERVE_HEADER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l idle-timeout -d 'For a connection without a request [default: 60s] [env: CERTMINT_CA_SERVE_IDLE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l stall-timeout -d 'For a transfer that stands still [default: 60s] [env: CERTMINT_CA_SERVE_STALL_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l drain-timeout -d 'For requests in flight when the server stops [default: 30s] [env: CERTMINT_CA_SERVE_DRAIN_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l handshake-timeout -d 'For the TLS handshake [default: 10s] [env: CERTMINT_CA_SERVE_HANDSHAKE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l hsts -d 'Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_CA_SERVE_HSTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l client-auth -d 'How clients show who they are [default: they need not] [env: CERTMINT_CA_SERVE_CLIENT_AUTH]' -r -f -a "require\t'By a certificate of the client CA; others are refused'
request\t'By a certificate of the client CA, or not at all'
fingerprint\t'By a certificate or raw public key with an allowed fingerprint'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l client-ca -d 'Authorities whose client certificates are taken, PEM [env: CERTMINT_CA_SERVE_CLIENT_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l crl -d 'Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_CA_SERVE_CRL]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l allow-fingerprint -d 'A client\'s certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_CA_SERVE_ALLOW_FINGERPRINT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l admin -d 'Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_CA_SERVE_ADMIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l admin-socket -d 'Unix socket for those who may reload it and ask how it is [env: CERTMINT_CA_SERVE_ADMIN_SOCKET]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l access-log -d 'Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_CA_SERVE_ACCESS_LOG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l events -d 'Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_CA_SERVE_EVENTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l user -d 'Go on as this user once the ports are bound [env: CERTMINT_CA_SERVE_USER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l permit-any -d 'Issue for any name over which control is shown, although the CA has no constraints [env: CERTMINT_CA_SERVE_PERMIT_ANY]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l require-eab -d 'Serve only accounts that are bound to a key of `ca eab add` [env: CERTMINT_CA_SERVE_REQUIRE_EAB]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -l allow-loopback -d 'Connect to loopback and link-local addresses as well [env: CERTMINT_CA_SERVE_ALLOW_LOOPBACK]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from serve" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -f -a "add" -d 'Make a key, and show it once'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -f -a "list" -d 'List the keys, without their secrets'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from eab" -f -a "remove" -d 'Revoke a key: it binds no account, and the one that it binds may order no more'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -f -a "list" -d 'List the accounts, oldest first'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from account" -f -a "revoke" -d 'Shut an account out, for good: from now on each of its requests is refused'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from backup" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -l force -d 'Replace the CA that is there; the old one is moved to backup/'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand ca; and __fish_seen_subcommand_from restore" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -f -a "issue" -d 'Obtain a certificate for names, and keep what it takes to renew it'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -f -a "account" -d 'Look after the accounts at CAs: one for each directory'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and not __fish_seen_subcommand_from issue account revoke" -f -a "revoke" -d 'Have a certificate revoked by the CA that issued it'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l from -d 'Obtain one certificate for each line of FILE, several at a time: `name[,name…]`; `-` is standard input [env: CERTMINT_ACME_ISSUE_FROM]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l csr -d 'Obtain a certificate for the names and the key of a signing request, PEM or DER; it is printed or written to --out, and not renewed [env: CERTMINT_ACME_ISSUE_CSR]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ISSUE_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l directory -d 'The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine\'s own), or the https URL of its directory; without it, the one that NAME\'s certificate came from, as it was asked then [env: CERTMINT_ACME_ISSUE_DIRECTORY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l ca-file -d 'Trust the directory\'s own TLS by the roots in FILE, instead of the system\'s [env: CERTMINT_ACME_ISSUE_CA_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l fallback -d 'A second CA, asked when the first issues nothing [env: CERTMINT_ACME_ISSUE_FALLBACK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l profile -d 'One of the CA\'s profiles [env: CERTMINT_ACME_ISSUE_PROFILE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l preferred-chain -d 'Prefer a chain that holds an issuer with this common name [env: CERTMINT_ACME_ISSUE_PREFERRED_CHAIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l email -d 'Where the CA may write to; repeatable or with commas [env: CERTMINT_ACME_ISSUE_EMAIL]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l eab-kid -d 'Key id of the external account that the CA requires [env: CERTMINT_ACME_ISSUE_EAB_KID]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l eab-hmac-file -d 'File with the external account\'s HMAC key in base64url, readable by its owner alone [env: CERTMINT_ACME_ISSUE_EAB_HMAC_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l challenge -d 'http-01, tls-alpn-01 or dns-01 [default: what the other settings here are for, else tls-alpn-01 and then http-01] [env: CERTMINT_ACME_ISSUE_CHALLENGE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l http -d 'Answer http-01 here [default: [::]:80; the private CA looks at any port of this machine] [env: CERTMINT_ACME_ISSUE_HTTP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l https -d 'Answer tls-alpn-01 here [default: [::]:443; the private CA looks at any port of this machine] [env: CERTMINT_ACME_ISSUE_HTTPS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l webroot -d 'Leave answering http-01 to the web server that serves the files in DIR [env: CERTMINT_ACME_ISSUE_WEBROOT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l dns -d 'Show control by dns-01 with the table `[dns.CREDENTIAL]` of --dns-file [env: CERTMINT_ACME_ISSUE_DNS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l dns-file -d 'File with DNS credentials: tables `[dns.NAME]` with `provider = "rfc2136"`, say; if it has only one, --dns can be left out [env: CERTMINT_ACME_ISSUE_DNS_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l dns-server -d 'Ask this name server where the zones are, instead of the system\'s [env: CERTMINT_ACME_ISSUE_DNS_SERVER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l key-type -d 'Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; some CAs take p521 and ed25519 [default: p256] [env: CERTMINT_ACME_ISSUE_KEY_TYPE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l id -d 'Keep it under this id instead of the first name [env: CERTMINT_ACME_ISSUE_ID]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l deploy-hook -d 'Command to run now and after each renewal, split like a shell line but run without a shell; it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES [env: CERTMINT_ACME_ISSUE_DEPLOY_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l out -d 'Copy key and chain into DIR, now and at each renewal (with --from: DIR/<id>) [env: CERTMINT_ACME_ISSUE_OUT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l mode -d 'Mode of the copied files that hold a key, octal [env: CERTMINT_ACME_ISSUE_MODE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l owner -d 'Owner of the copied files [env: CERTMINT_ACME_ISSUE_OWNER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l group -d 'Group of the copied files [env: CERTMINT_ACME_ISSUE_GROUP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l force -d 'Obtain a certificate also when the one there is still good for the same names'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l json -d 'Print the result as JSON [env: CERTMINT_ACME_ISSUE_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l agree-tos -d 'Agree to the CA\'s terms of service, which it is asked for when it has no account yet [env: CERTMINT_ACME_ISSUE_AGREE_TOS]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -l reuse-key -d 'Renew with the same key instead of a new one [env: CERTMINT_ACME_ISSUE_REUSE_KEY]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from issue" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -f -a "show" -d 'Show the accounts kept here, or what a CA says of one'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -f -a "register" -d 'Make an account, or find again the one that is there'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -f -a "contact" -d 'Replace the addresses that the CA may write to'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -f -a "rollover" -d 'Replace the account\'s key'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from account" -f -a "deactivate" -d 'End an account for good'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l cert -d 'The certificate in FILE (PEM; its first) instead of one kept here [env: CERTMINT_ACME_REVOKE_CERT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l key -d 'Ask as the holder of the certificate\'s private key, in FILE, instead of by the account [env: CERTMINT_ACME_REVOKE_KEY]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l reason -d 'Why (RFC 5280 §5.3.1) [env: CERTMINT_ACME_REVOKE_REASON]' -r -f -a "unspecified\t'None given'
keyCompromise\t'Others have, or may have, the private key; the next renewal makes a new one'
affiliationChanged\t'The names changed hands'
superseded\t'Another certificate took its place'
cessationOfOperation\t'The service is no more; it is not renewed again'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l directory -d 'The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine\'s own), or the https URL of its directory [env: CERTMINT_ACME_REVOKE_DIRECTORY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l ca-file -d 'Trust the directory\'s own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system\'s] [env: CERTMINT_ACME_REVOKE_CA_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_REVOKE_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -l json -d 'Print the result as JSON [env: CERTMINT_ACME_REVOKE_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand acme; and __fish_seen_subcommand_from revoke" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l splay -d 'Wait once, at random up to this long, before a public CA is asked for anything, so that not all machines ask at the same moment; nothing waits when none has to be asked [env: CERTMINT_RENEW_SPLAY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l deploy-hook -d 'Command to run after each renewal, split like a shell line but run without a shell; it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES [env: CERTMINT_RENEW_DEPLOY_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l hook-timeout -d 'How long each hook may run before it is ended [default: 2m] [env: CERTMINT_RENEW_HOOK_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; never asked for [env: CERTMINT_RENEW_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l dry-run -d 'Say what would be done, and when to look again, without doing it'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l force -d 'Renew also what is not due or was put off after a failure'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -l json -d 'Print the outcome as JSON [env: CERTMINT_RENEW_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand renew" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l servername -d 'Name to ask an endpoint for, instead of the host in TARGET [env: CERTMINT_INSPECT_SERVERNAME]' -r
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l ca-file -d 'Verify an endpoint against the roots in FILE, instead of the system\'s [env: CERTMINT_INSPECT_CA_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l passphrase-file -d 'Passphrase of an encrypted key or PKCS#12 file: FILE\'s first line, `-` is standard input [env: CERTMINT_INSPECT_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l fail-on -d 'Least severity that gives exit code 3 (warn) or 4 (critical) [env: CERTMINT_INSPECT_FAIL_ON]' -r -f -a "warn\t'Exit 3 on warnings, 4 on anything critical'
critical\t'Exit 4 on anything critical'
never\t'Exit 0 whatever is found'"
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -l json -d 'Print the report as JSON [env: CERTMINT_INSPECT_JSON]'
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand inspect" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l config -d 'File with a table `[[listener]]` for each listener, whose keys are the flags of the command `serve-…` that `mode` names [env: CERTMINT_SERVE_CONFIG]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l admin -d 'Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_ADMIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l admin-socket -d 'Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_ADMIN_SOCKET]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l access-log -d 'Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_ACCESS_LOG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l events -d 'Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_EVENTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l user -d 'Go on as this user once the ports are bound [env: CERTMINT_SERVE_USER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand serve" -l check-config -d 'Say everything that is wrong with the file, and serve nothing'
complete -c certmint -n "__fish_certmint_using_subcommand serve" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand serve" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand serve" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l https -d 'Address to serve https on; port 0 takes a free one [env: CERTMINT_SERVE_CA_HTTPS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l http -d 'Address to send clients to https from; or `off` [env: CERTMINT_SERVE_CA_HTTP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l days -d 'Life of the certificate in days [env: CERTMINT_SERVE_CA_DAYS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l key-type -d 'Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 [env: CERTMINT_SERVE_CA_KEY_TYPE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_SERVE_CA_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l allow -d 'Names that may have one: `*.example.com`, or `**.example.com` for any depth; repeatable or with commas [env: CERTMINT_SERVE_CA_ALLOW]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l ask -d 'Ask here for permission, with `?domain=NAME&client=ADDRESS`: 2xx is a yes, 4xx a no [env: CERTMINT_SERVE_CA_ASK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l ask-ca -d 'Verify the address of --ask by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_CA_ASK_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l allow-hook -d 'Ask this program for permission, with CERTMINT_HOOK_NAME: status 0 is a yes, 1 a no [env: CERTMINT_SERVE_CA_ALLOW_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l provision-hook -d 'A program that may have the certificate: it writes key and chain as PEM, or `acme` [env: CERTMINT_SERVE_CA_PROVISION_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l on-miss -d 'What clients see meanwhile [default: placeholder with a public CA, wait with the private one] [env: CERTMINT_SERVE_CA_ON_MISS]' -r -f -a "placeholder\t'Another certificate, and 503'
wait\t'Nothing yet, for a few seconds; then the placeholder'
reject\t'That there is no such site'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l default-cert -d 'The placeholder with its intermediates, PEM [default: a self-signed one, made at the start] [env: CERTMINT_SERVE_CA_DEFAULT_CERT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l default-key -d 'Its private key, PEM [default: in the same file] [env: CERTMINT_SERVE_CA_DEFAULT_KEY]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l forget-after -d 'Let go of names that nobody has asked for in so long [default: 30d] [env: CERTMINT_SERVE_CA_FORGET_AFTER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-in-flight -d 'Certificates being made at the same time [default: 8; private CA: 4] [env: CERTMINT_SERVE_CA_MAX_IN_FLIGHT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-queue -d 'Names that wait for their turn [default: 64; private CA: 256] [env: CERTMINT_SERVE_CA_MAX_QUEUE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-names-per-hour -d 'New names in an hour [default: 80; private CA: 1000] [env: CERTMINT_SERVE_CA_MAX_NAMES_PER_HOUR]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-names-per-domain -d 'New names below a registered domain in seven days [default: 40; private CA: 10000] [env: CERTMINT_SERVE_CA_MAX_NAMES_PER_DOMAIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-names-per-client -d 'New names that one client may ask for in an hour [default: 20; private CA: 100] [env: CERTMINT_SERVE_CA_MAX_NAMES_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l upstream -d 'Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_CA_UPSTREAM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l upstream-ca -d 'Verify https upstreams by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_CA_UPSTREAM_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l trusted-proxy -d 'Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_CA_TRUSTED_PROXY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l root -d 'Serve the files below DIR [default: a page that shows the connection\'s certificate] [env: CERTMINT_SERVE_CA_ROOT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l proxy-protocol-from -d 'Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_CA_PROXY_PROTOCOL_FROM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-body -d 'Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_CA_MAX_BODY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l rate-limit -d 'Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_CA_RATE_LIMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-connections -d 'Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_CA_MAX_CONNECTIONS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l max-connections-per-client -d 'Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_CA_MAX_CONNECTIONS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l header-timeout -d 'For the header of a request [default: 10s] [env: CERTMINT_SERVE_CA_HEADER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l idle-timeout -d 'For a connection without a request [default: 60s] [env: CERTMINT_SERVE_CA_IDLE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l stall-timeout -d 'For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_CA_STALL_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l drain-timeout -d 'For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_CA_DRAIN_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l upstream-connect-timeout -d 'To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_CA_UPSTREAM_CONNECT_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l upstream-answer-timeout -d 'For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_CA_UPSTREAM_ANSWER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l handshake-timeout -d 'For the TLS handshake [default: 10s] [env: CERTMINT_SERVE_CA_HANDSHAKE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l hsts -d 'Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_SERVE_CA_HSTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l client-auth -d 'How clients show who they are [default: they need not] [env: CERTMINT_SERVE_CA_CLIENT_AUTH]' -r -f -a "require\t'By a certificate of the client CA; others are refused'
request\t'By a certificate of the client CA, or not at all'
fingerprint\t'By a certificate or raw public key with an allowed fingerprint'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l client-ca -d 'Authorities whose client certificates are taken, PEM [env: CERTMINT_SERVE_CA_CLIENT_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l crl -d 'Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_SERVE_CA_CRL]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l allow-fingerprint -d 'A client\'s certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_SERVE_CA_ALLOW_FINGERPRINT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l admin -d 'Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_CA_ADMIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l admin-socket -d 'Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_CA_ADMIN_SOCKET]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l access-log -d 'Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CA_ACCESS_LOG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l events -d 'Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CA_EVENTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l user -d 'Go on as this user once the ports are bound [env: CERTMINT_SERVE_CA_USER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l init -d 'Make the CA first when there is none'
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -l on-demand -d 'Make certificates for names when clients ask for them; NAME may be left out [env: CERTMINT_SERVE_CA_ON_DEMAND]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand serve-ca" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l https -d 'Address to serve https on, and to answer tls-alpn-01 on [env: CERTMINT_SERVE_ACME_HTTPS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l http -d 'Address to answer http-01 on, and to send clients to https from; or `off` [env: CERTMINT_SERVE_ACME_HTTP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l cache-dir -d 'Keep the certificate in DIR instead of the state directory; the account stays there [env: CERTMINT_SERVE_ACME_CACHE_DIR]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l start-timeout -d 'How long a start without a valid certificate may take [env: CERTMINT_SERVE_ACME_START_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l key-type -d 'Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; some CAs take p521 and ed25519 [env: CERTMINT_SERVE_ACME_KEY_TYPE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l passphrase-file -d 'Passphrase of the CA\'s intermediate key: FILE\'s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_SERVE_ACME_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l directory -d 'The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine\'s own, made first when there is none), or the https URL of its directory [env: CERTMINT_SERVE_ACME_DIRECTORY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l ca-file -d 'Trust the directory\'s own TLS by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_ACME_CA_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l fallback -d 'A second CA, asked when the first issues nothing [env: CERTMINT_SERVE_ACME_FALLBACK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l profile -d 'One of the CA\'s profiles [env: CERTMINT_SERVE_ACME_PROFILE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l preferred-chain -d 'Prefer a chain that holds an issuer with this common name [env: CERTMINT_SERVE_ACME_PREFERRED_CHAIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l email -d 'Where the CA may write to; repeatable or with commas [env: CERTMINT_SERVE_ACME_EMAIL]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l eab-kid -d 'Key id of the external account that the CA requires [env: CERTMINT_SERVE_ACME_EAB_KID]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l eab-hmac-file -d 'File with the external account\'s HMAC key in base64url, readable by its owner alone [env: CERTMINT_SERVE_ACME_EAB_HMAC_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l challenge -d 'http-01, tls-alpn-01 or dns-01 [default: dns-01 with --dns, http-01 with --webroot, else tls-alpn-01 and then http-01] [env: CERTMINT_SERVE_ACME_CHALLENGE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l webroot -d 'Leave answering http-01 to the web server that serves the files in DIR [env: CERTMINT_SERVE_ACME_WEBROOT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l dns -d 'Show control by dns-01 with the table `[dns.CREDENTIAL]` of --dns-file [env: CERTMINT_SERVE_ACME_DNS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l dns-file -d 'File with DNS credentials: tables `[dns.NAME]` with `provider = "rfc2136"`, say; if it has only one, --dns can be left out [env: CERTMINT_SERVE_ACME_DNS_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l dns-server -d 'Ask this name server where the zones are, instead of the system\'s [env: CERTMINT_SERVE_ACME_DNS_SERVER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l allow -d 'Names that may have one: `*.example.com`, or `**.example.com` for any depth; repeatable or with commas [env: CERTMINT_SERVE_ACME_ALLOW]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l ask -d 'Ask here for permission, with `?domain=NAME&client=ADDRESS`: 2xx is a yes, 4xx a no [env: CERTMINT_SERVE_ACME_ASK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l ask-ca -d 'Verify the address of --ask by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_ACME_ASK_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l allow-hook -d 'Ask this program for permission, with CERTMINT_HOOK_NAME: status 0 is a yes, 1 a no [env: CERTMINT_SERVE_ACME_ALLOW_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l provision-hook -d 'A program that may have the certificate: it writes key and chain as PEM, or `acme` [env: CERTMINT_SERVE_ACME_PROVISION_HOOK]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l on-miss -d 'What clients see meanwhile [default: placeholder with a public CA, wait with the private one] [env: CERTMINT_SERVE_ACME_ON_MISS]' -r -f -a "placeholder\t'Another certificate, and 503'
wait\t'Nothing yet, for a few seconds; then the placeholder'
reject\t'That there is no such site'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l default-cert -d 'The placeholder with its intermediates, PEM [default: a self-signed one, made at the start] [env: CERTMINT_SERVE_ACME_DEFAULT_CERT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l default-key -d 'Its private key, PEM [default: in the same file] [env: CERTMINT_SERVE_ACME_DEFAULT_KEY]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l forget-after -d 'Let go of names that nobody has asked for in so long [default: 30d] [env: CERTMINT_SERVE_ACME_FORGET_AFTER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-in-flight -d 'Certificates being made at the same time [default: 8; private CA: 4] [env: CERTMINT_SERVE_ACME_MAX_IN_FLIGHT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-queue -d 'Names that wait for their turn [default: 64; private CA: 256] [env: CERTMINT_SERVE_ACME_MAX_QUEUE]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-names-per-hour -d 'New names in an hour [default: 80; private CA: 1000] [env: CERTMINT_SERVE_ACME_MAX_NAMES_PER_HOUR]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-names-per-domain -d 'New names below a registered domain in seven days [default: 40; private CA: 10000] [env: CERTMINT_SERVE_ACME_MAX_NAMES_PER_DOMAIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-names-per-client -d 'New names that one client may ask for in an hour [default: 20; private CA: 100] [env: CERTMINT_SERVE_ACME_MAX_NAMES_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l upstream -d 'Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_ACME_UPSTREAM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l upstream-ca -d 'Verify https upstreams by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_ACME_UPSTREAM_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l trusted-proxy -d 'Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_ACME_TRUSTED_PROXY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l root -d 'Serve the files below DIR [default: a page that shows the connection\'s certificate] [env: CERTMINT_SERVE_ACME_ROOT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l proxy-protocol-from -d 'Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_ACME_PROXY_PROTOCOL_FROM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-body -d 'Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_ACME_MAX_BODY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l rate-limit -d 'Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_ACME_RATE_LIMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-connections -d 'Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_ACME_MAX_CONNECTIONS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l max-connections-per-client -d 'Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_ACME_MAX_CONNECTIONS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l header-timeout -d 'For the header of a request [default: 10s] [env: CERTMINT_SERVE_ACME_HEADER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l idle-timeout -d 'For a connection without a request [default: 60s] [env: CERTMINT_SERVE_ACME_IDLE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l stall-timeout -d 'For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_ACME_STALL_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l drain-timeout -d 'For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_ACME_DRAIN_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l upstream-connect-timeout -d 'To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_ACME_UPSTREAM_CONNECT_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l upstream-answer-timeout -d 'For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_ACME_UPSTREAM_ANSWER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l handshake-timeout -d 'For the TLS handshake [default: 10s] [env: CERTMINT_SERVE_ACME_HANDSHAKE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l hsts -d 'Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_SERVE_ACME_HSTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l client-auth -d 'How clients show who they are [default: they need not] [env: CERTMINT_SERVE_ACME_CLIENT_AUTH]' -r -f -a "require\t'By a certificate of the client CA; others are refused'
request\t'By a certificate of the client CA, or not at all'
fingerprint\t'By a certificate or raw public key with an allowed fingerprint'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l client-ca -d 'Authorities whose client certificates are taken, PEM [env: CERTMINT_SERVE_ACME_CLIENT_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l crl -d 'Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_SERVE_ACME_CRL]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l allow-fingerprint -d 'A client\'s certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_SERVE_ACME_ALLOW_FINGERPRINT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l admin -d 'Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_ACME_ADMIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l admin-socket -d 'Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_ACME_ADMIN_SOCKET]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l access-log -d 'Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_ACME_ACCESS_LOG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l events -d 'Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_ACME_EVENTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l user -d 'Go on as this user once the ports are bound [env: CERTMINT_SERVE_ACME_USER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l agree-tos -d 'Agree to the CA\'s terms of service, which it is asked for when it has no account yet [env: CERTMINT_SERVE_ACME_AGREE_TOS]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -l on-demand -d 'Make certificates for names when clients ask for them; NAME may be left out [env: CERTMINT_SERVE_ACME_ON_DEMAND]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand serve-acme" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l cert -d 'The certificate with its intermediates, PEM [env: CERTMINT_SERVE_CUSTOM_CERT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l key -d 'Its private key, PEM [env: CERTMINT_SERVE_CUSTOM_KEY]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l raw-key -d 'No certificate, but this Ed25519 key, PEM, for clients that know it (RFC 7250) [env: CERTMINT_SERVE_CUSTOM_RAW_KEY]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l self-signed -d 'A certificate for NAME that nobody vouches for, made now and never written: to try things out; can be given again [env: CERTMINT_SERVE_CUSTOM_SELF_SIGNED]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l passphrase-file -d 'Passphrase of the key: FILE\'s first line; `-` is standard input [env: CERTMINT_SERVE_CUSTOM_PASSPHRASE_FILE]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l https -d 'Address to serve https on; port 0 takes a free one [env: CERTMINT_SERVE_CUSTOM_HTTPS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l http -d 'Address to send clients to https from; or `off` [env: CERTMINT_SERVE_CUSTOM_HTTP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l upstream -d 'Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_CUSTOM_UPSTREAM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l upstream-ca -d 'Verify https upstreams by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_CUSTOM_UPSTREAM_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l trusted-proxy -d 'Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_CUSTOM_TRUSTED_PROXY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l root -d 'Serve the files below DIR [default: a page that shows the connection\'s certificate] [env: CERTMINT_SERVE_CUSTOM_ROOT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l proxy-protocol-from -d 'Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_CUSTOM_PROXY_PROTOCOL_FROM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l max-body -d 'Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_CUSTOM_MAX_BODY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l rate-limit -d 'Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_CUSTOM_RATE_LIMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l max-connections -d 'Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_CUSTOM_MAX_CONNECTIONS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l max-connections-per-client -d 'Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_CUSTOM_MAX_CONNECTIONS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l header-timeout -d 'For the header of a request [default: 10s] [env: CERTMINT_SERVE_CUSTOM_HEADER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l idle-timeout -d 'For a connection without a request [default: 60s] [env: CERTMINT_SERVE_CUSTOM_IDLE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l stall-timeout -d 'For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_CUSTOM_STALL_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l drain-timeout -d 'For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_CUSTOM_DRAIN_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l upstream-connect-timeout -d 'To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_CUSTOM_UPSTREAM_CONNECT_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l upstream-answer-timeout -d 'For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_CUSTOM_UPSTREAM_ANSWER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l handshake-timeout -d 'For the TLS handshake [default: 10s] [env: CERTMINT_SERVE_CUSTOM_HANDSHAKE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l hsts -d 'Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_SERVE_CUSTOM_HSTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l client-auth -d 'How clients show who they are [default: they need not] [env: CERTMINT_SERVE_CUSTOM_CLIENT_AUTH]' -r -f -a "require\t'By a certificate of the client CA; others are refused'
request\t'By a certificate of the client CA, or not at all'
fingerprint\t'By a certificate or raw public key with an allowed fingerprint'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l client-ca -d 'Authorities whose client certificates are taken, PEM [env: CERTMINT_SERVE_CUSTOM_CLIENT_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l crl -d 'Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_SERVE_CUSTOM_CRL]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l allow-fingerprint -d 'A client\'s certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_SERVE_CUSTOM_ALLOW_FINGERPRINT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l admin -d 'Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_CUSTOM_ADMIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l admin-socket -d 'Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_CUSTOM_ADMIN_SOCKET]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l access-log -d 'Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CUSTOM_ACCESS_LOG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l events -d 'Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CUSTOM_EVENTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l user -d 'Go on as this user once the ports are bound [env: CERTMINT_SERVE_CUSTOM_USER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand serve-custom" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l http -d 'Address to serve http on; port 0 takes a free one [env: CERTMINT_SERVE_INSECURE_HTTP]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l upstream -d 'Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_INSECURE_UPSTREAM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l upstream-ca -d 'Verify https upstreams by the roots in FILE, instead of the system\'s [env: CERTMINT_SERVE_INSECURE_UPSTREAM_CA]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l trusted-proxy -d 'Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_INSECURE_TRUSTED_PROXY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l root -d 'Serve the files below DIR [default: a page that shows the connection\'s certificate] [env: CERTMINT_SERVE_INSECURE_ROOT]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l proxy-protocol-from -d 'Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_INSECURE_PROXY_PROTOCOL_FROM]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l max-body -d 'Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_INSECURE_MAX_BODY]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l rate-limit -d 'Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_INSECURE_RATE_LIMIT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l max-connections -d 'Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_INSECURE_MAX_CONNECTIONS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l max-connections-per-client -d 'Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_INSECURE_MAX_CONNECTIONS_PER_CLIENT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l header-timeout -d 'For the header of a request [default: 10s] [env: CERTMINT_SERVE_INSECURE_HEADER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l idle-timeout -d 'For a connection without a request [default: 60s] [env: CERTMINT_SERVE_INSECURE_IDLE_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l stall-timeout -d 'For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_INSECURE_STALL_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l drain-timeout -d 'For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_INSECURE_DRAIN_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l upstream-connect-timeout -d 'To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_INSECURE_UPSTREAM_CONNECT_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l upstream-answer-timeout -d 'For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_INSECURE_UPSTREAM_ANSWER_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l admin -d 'Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_INSECURE_ADMIN]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l admin-socket -d 'Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_INSECURE_ADMIN_SOCKET]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l access-log -d 'Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_INSECURE_ACCESS_LOG]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l events -d 'Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_INSECURE_EVENTS]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l user -d 'Go on as this user once the ports are bound [env: CERTMINT_SERVE_INSECURE_USER]' -r
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -l allow-remote -d 'Allow an address that others can reach'
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand serve-insecure" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand health" -l timeout -d 'How long the answer may take [env: CERTMINT_HEALTH_TIMEOUT]' -r
complete -c certmint -n "__fish_certmint_using_subcommand health" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand health" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand health" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand health" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand health" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand health" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand health" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand completions" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand completions" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand completions" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand completions" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand completions" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand completions" -s V -l version -d 'Print version'
complete -c certmint -n "__fish_certmint_using_subcommand generate" -l home -d 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]' -r -F
complete -c certmint -n "__fish_certmint_using_subcommand generate" -l color -d 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]' -r -f -a "auto\t'On a terminal'
always\t'Also into a pipe'
never\t'Never'"
complete -c certmint -n "__fish_certmint_using_subcommand generate" -l log-format -d 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c certmint -n "__fish_certmint_using_subcommand generate" -s q -l quiet -d 'Say only what went wrong [env: CERTMINT_QUIET]'
complete -c certmint -n "__fish_certmint_using_subcommand generate" -s v -l verbose -d 'Say more; twice for everything'
complete -c certmint -n "__fish_certmint_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c certmint -n "__fish_certmint_using_subcommand generate" -s V -l version -d 'Print version'

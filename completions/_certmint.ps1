
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'certmint' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'certmint'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'certmint' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('ca', 'ca', [CompletionResultType]::ParameterValue, 'Run a private certificate authority')
            [CompletionResult]::new('renew', 'renew', [CompletionResultType]::ParameterValue, 'Renew every certificate that is due')
            [CompletionResult]::new('inspect', 'inspect', [CompletionResultType]::ParameterValue, 'Show what a file, a directory or a live endpoint holds, and what is wrong with it')
            [CompletionResult]::new('serve-ca', 'serve-ca', [CompletionResultType]::ParameterValue, 'Serve over TLS with a certificate of the private CA')
            [CompletionResult]::new('serve-custom', 'serve-custom', [CompletionResultType]::ParameterValue, 'Serve over TLS with a certificate and key from files')
            [CompletionResult]::new('serve-insecure', 'serve-insecure', [CompletionResultType]::ParameterValue, 'Serve plain HTTP, for trying things out')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script of a shell')
            [CompletionResult]::new('generate', 'generate', [CompletionResultType]::ParameterValue, 'Render man pages or completion scripts into a directory')
            break
        }
        'certmint;ca' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Make a root and an intermediate in one go')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show the hierarchy and everything issued, worst first')
            [CompletionResult]::new('issue', 'issue', [CompletionResultType]::ParameterValue, 'Issue certificates for names, with new keys')
            [CompletionResult]::new('sign', 'sign', [CompletionResultType]::ParameterValue, 'Issue a certificate for a certificate signing request')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the certificates ever issued, soonest to expire first')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Revoke a certificate and sign a fresh CRL')
            [CompletionResult]::new('crl', 'crl', [CompletionResultType]::ParameterValue, 'Sign a fresh CRL')
            [CompletionResult]::new('rotate', 'rotate', [CompletionResultType]::ParameterValue, 'Replace the intermediate or the root, without breaking clients')
            [CompletionResult]::new('trust', 'trust', [CompletionResultType]::ParameterValue, 'Install the root where programs look for trusted roots')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Copy the CA and its certificates into one archive, while it runs')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Bring a CA back from an archive')
            break
        }
        'certmint;ca;init' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Name of the CA, as it stands in its certificates [default: the host''s name and "CA"] [env: CERTMINT_CA_INIT_NAME]')
            [CompletionResult]::new('--org', '--org', [CompletionResultType]::ParameterName, 'Organisation in the subjects [default: the CA''s name] [env: CERTMINT_CA_INIT_ORG]')
            [CompletionResult]::new('--country', '--country', [CompletionResultType]::ParameterName, 'Country in the subjects, two letters [env: CERTMINT_CA_INIT_COUNTRY]')
            [CompletionResult]::new('--key-type', '--key-type', [CompletionResultType]::ParameterName, 'Key type of root and intermediate: p256, p384, ed25519, rsa3072, rsa4096 [env: CERTMINT_CA_INIT_KEY_TYPE]')
            [CompletionResult]::new('--root-days', '--root-days', [CompletionResultType]::ParameterName, 'Life of the root in days [env: CERTMINT_CA_INIT_ROOT_DAYS]')
            [CompletionResult]::new('--intermediate-days', '--intermediate-days', [CompletionResultType]::ParameterName, 'Life of the intermediate in days [env: CERTMINT_CA_INIT_INTERMEDIATE_DAYS]')
            [CompletionResult]::new('--permit', '--permit', [CompletionResultType]::ParameterName, 'Constrain the CA to these domains and address ranges; repeatable or with commas [env: CERTMINT_CA_INIT_PERMIT]')
            [CompletionResult]::new('--crl-url', '--crl-url', [CompletionResultType]::ParameterName, 'Where the CRLs are published, for certificates that live over 7 days: a plain http directory, under which each issuer''s list is `<issuer>.crl` [env: CERTMINT_CA_INIT_CRL_URL]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Encrypt both keys with the passphrase on FILE''s first line; `-` is standard input [env: CERTMINT_CA_INIT_PASSPHRASE_FILE]')
            [CompletionResult]::new('--root-passphrase-file', '--root-passphrase-file', [CompletionResultType]::ParameterName, 'Encrypt the root key with another passphrase than the intermediate''s [env: CERTMINT_CA_INIT_ROOT_PASSPHRASE_FILE]')
            [CompletionResult]::new('--root-out', '--root-out', [CompletionResultType]::ParameterName, 'Put the root key into DIR (a removable disk, say) and not into the state directory [env: CERTMINT_CA_INIT_ROOT_OUT]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--encrypt', '--encrypt', [CompletionResultType]::ParameterName, 'Encrypt both keys and ask for the passphrase on the terminal [env: CERTMINT_CA_INIT_ENCRYPT]')
            [CompletionResult]::new('--if-missing', '--if-missing', [CompletionResultType]::ParameterName, 'Do nothing when there is a CA already [env: CERTMINT_CA_INIT_IF_MISSING]')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace the CA; the old one is moved to backup/')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the result as JSON [env: CERTMINT_CA_INIT_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;status' {
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'Count a certificate as due when it expires within N days, whatever its life [env: CERTMINT_CA_STATUS_DAYS]')
            [CompletionResult]::new('--fail-on', '--fail-on', [CompletionResultType]::ParameterName, 'Least severity that gives exit code 3 (warn) or 4 (critical) [env: CERTMINT_CA_STATUS_FAIL_ON]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Show every certificate, also a thousand healthy ones')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the status as JSON [env: CERTMINT_CA_STATUS_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;issue' {
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Issue one certificate for each line of FILE: `name[,name…]`; `-` is standard input [env: CERTMINT_CA_ISSUE_FROM]')
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'Life in days, at most 825 [default: 90] [env: CERTMINT_CA_ISSUE_DAYS]')
            [CompletionResult]::new('--key-type', '--key-type', [CompletionResultType]::ParameterName, 'Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 [env: CERTMINT_CA_ISSUE_KEY_TYPE]')
            [CompletionResult]::new('--id', '--id', [CompletionResultType]::ParameterName, 'Keep it under this id instead of the first name [env: CERTMINT_CA_ISSUE_ID]')
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'Copy key and chain into DIR, now and at each renewal (with --from: DIR/<id>) [env: CERTMINT_CA_ISSUE_OUT]')
            [CompletionResult]::new('--mode', '--mode', [CompletionResultType]::ParameterName, 'Mode of the copied files that hold a key, octal [env: CERTMINT_CA_ISSUE_MODE]')
            [CompletionResult]::new('--owner', '--owner', [CompletionResultType]::ParameterName, 'Owner of the copied files [env: CERTMINT_CA_ISSUE_OWNER]')
            [CompletionResult]::new('--group', '--group', [CompletionResultType]::ParameterName, 'Group of the copied files [env: CERTMINT_CA_ISSUE_GROUP]')
            [CompletionResult]::new('--p12', '--p12', [CompletionResultType]::ParameterName, 'Also write key and chain as PKCS#12 to FILE [env: CERTMINT_CA_ISSUE_P12]')
            [CompletionResult]::new('--p12-passphrase-file', '--p12-passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the PKCS#12 file: FILE''s first line; asked for on a terminal when not given [env: CERTMINT_CA_ISSUE_P12_PASSPHRASE_FILE]')
            [CompletionResult]::new('--deploy-hook', '--deploy-hook', [CompletionResultType]::ParameterName, 'Command to run after each renewal, split like a shell line but run without a shell [env: CERTMINT_CA_ISSUE_DEPLOY_HOOK]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ISSUE_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'For a client (mTLS) rather than a server [env: CERTMINT_CA_ISSUE_CLIENT]')
            [CompletionResult]::new('--both', '--both', [CompletionResultType]::ParameterName, 'For a client and a server [env: CERTMINT_CA_ISSUE_BOTH]')
            [CompletionResult]::new('--reuse-key', '--reuse-key', [CompletionResultType]::ParameterName, 'Renew with the same key instead of a new one [env: CERTMINT_CA_ISSUE_REUSE_KEY]')
            [CompletionResult]::new('--csr-only', '--csr-only', [CompletionResultType]::ParameterName, 'Only make a key and a signing request, in the directory of --out; nothing is issued')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the result as JSON [env: CERTMINT_CA_ISSUE_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;sign' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Issue for these names instead of those in the request; repeatable or with commas [env: CERTMINT_CA_SIGN_NAME]')
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'Life in days, at most 825 [default: 90] [env: CERTMINT_CA_SIGN_DAYS]')
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'Write the chain to FILE instead of standard output [env: CERTMINT_CA_SIGN_OUT]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_SIGN_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'For a client (mTLS) rather than a server [env: CERTMINT_CA_SIGN_CLIENT]')
            [CompletionResult]::new('--both', '--both', [CompletionResultType]::ParameterName, 'For a client and a server [env: CERTMINT_CA_SIGN_BOTH]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;list' {
            [CompletionResult]::new('--expiring', '--expiring', [CompletionResultType]::ParameterName, 'Only what expires within this time, such as `30d` [env: CERTMINT_CA_LIST_EXPIRING]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Only certificates with a name like this; `*` and `?` stand for any characters [env: CERTMINT_CA_LIST_NAME]')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most N rows [env: CERTMINT_CA_LIST_LIMIT]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--revoked', '--revoked', [CompletionResultType]::ParameterName, 'Only what was revoked [env: CERTMINT_CA_LIST_REVOKED]')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Also what has expired')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the list as JSON [env: CERTMINT_CA_LIST_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;revoke' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn [env: CERTMINT_CA_REVOKE_REASON]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_REVOKE_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the result as JSON [env: CERTMINT_CA_REVOKE_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;crl' {
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'Write the CRL to FILE too; `-` is standard output [env: CERTMINT_CA_CRL_OUT]')
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'Days until the next CRL is due [env: CERTMINT_CA_CRL_DAYS]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_CRL_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--der', '--der', [CompletionResultType]::ParameterName, 'Write DER instead of PEM [env: CERTMINT_CA_CRL_DER]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;rotate' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('intermediate', 'intermediate', [CompletionResultType]::ParameterValue, 'A new intermediate under the same root')
            [CompletionResult]::new('root', 'root', [CompletionResultType]::ParameterValue, 'A new root, cross-signed by the old one, and an intermediate under it')
            break
        }
        'certmint;ca;rotate;intermediate' {
            [CompletionResult]::new('--root-key', '--root-key', [CompletionResultType]::ParameterName, 'The root key, when it is kept elsewhere [env: CERTMINT_CA_ROTATE_INTERMEDIATE_ROOT_KEY]')
            [CompletionResult]::new('--root-passphrase-file', '--root-passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the root key: FILE''s first line [default: --passphrase-file] [env: CERTMINT_CA_ROTATE_INTERMEDIATE_ROOT_PASSPHRASE_FILE]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ROTATE_INTERMEDIATE_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;rotate;root' {
            [CompletionResult]::new('--root-key', '--root-key', [CompletionResultType]::ParameterName, 'The root key, when it is kept elsewhere [env: CERTMINT_CA_ROTATE_ROOT_ROOT_KEY]')
            [CompletionResult]::new('--root-passphrase-file', '--root-passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the root key: FILE''s first line [default: --passphrase-file] [env: CERTMINT_CA_ROTATE_ROOT_ROOT_PASSPHRASE_FILE]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ROTATE_ROOT_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--finish', '--finish', [CompletionResultType]::ParameterName, 'End the rotation: stop serving the cross-certificate and drop the old root from root.pem')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;trust' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Install the root')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Remove every root that certmint installed for this CA')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Say where the root is trusted')
            break
        }
        'certmint;ca;trust;install' {
            [CompletionResult]::new('--store', '--store', [CompletionResultType]::ParameterName, 'Trust stores: system, nss, java; repeatable or with commas [default: all that are there] [env: CERTMINT_CA_TRUST_INSTALL_STORE]')
            [CompletionResult]::new('--sysroot', '--sysroot', [CompletionResultType]::ParameterName, 'Root directory of the system to change')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be done without doing it')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;trust;uninstall' {
            [CompletionResult]::new('--store', '--store', [CompletionResultType]::ParameterName, 'Trust stores: system, nss, java; repeatable or with commas [default: all that are there] [env: CERTMINT_CA_TRUST_UNINSTALL_STORE]')
            [CompletionResult]::new('--sysroot', '--sysroot', [CompletionResultType]::ParameterName, 'Root directory of the system to change')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be done without doing it')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;trust;status' {
            [CompletionResult]::new('--store', '--store', [CompletionResultType]::ParameterName, 'Trust stores: system, nss, java; repeatable or with commas [default: all that are there] [env: CERTMINT_CA_TRUST_STATUS_STORE]')
            [CompletionResult]::new('--sysroot', '--sysroot', [CompletionResultType]::ParameterName, 'Root directory of the system to change')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the status as JSON [env: CERTMINT_CA_TRUST_STATUS_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;backup' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;ca;restore' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace the CA that is there; the old one is moved to backup/')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;renew' {
            [CompletionResult]::new('--deploy-hook', '--deploy-hook', [CompletionResultType]::ParameterName, 'Command to run after each renewal, split like a shell line but run without a shell; it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES [env: CERTMINT_RENEW_DEPLOY_HOOK]')
            [CompletionResult]::new('--hook-timeout', '--hook-timeout', [CompletionResultType]::ParameterName, 'How long each hook may run before it is ended [default: 2m] [env: CERTMINT_RENEW_HOOK_TIMEOUT]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; never asked for [env: CERTMINT_RENEW_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be done, and when to look again, without doing it')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Renew also what is not due or was put off after a failure')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the outcome as JSON [env: CERTMINT_RENEW_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;inspect' {
            [CompletionResult]::new('--servername', '--servername', [CompletionResultType]::ParameterName, 'Name to ask an endpoint for, instead of the host in TARGET [env: CERTMINT_INSPECT_SERVERNAME]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Verify an endpoint against the roots in FILE, instead of the system''s [env: CERTMINT_INSPECT_CA_FILE]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of an encrypted key or PKCS#12 file: FILE''s first line, `-` is standard input [env: CERTMINT_INSPECT_PASSPHRASE_FILE]')
            [CompletionResult]::new('--fail-on', '--fail-on', [CompletionResultType]::ParameterName, 'Least severity that gives exit code 3 (warn) or 4 (critical) [env: CERTMINT_INSPECT_FAIL_ON]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the report as JSON [env: CERTMINT_INSPECT_JSON]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;serve-ca' {
            [CompletionResult]::new('--https', '--https', [CompletionResultType]::ParameterName, 'Address to serve https on; port 0 takes a free one [env: CERTMINT_SERVE_CA_HTTPS]')
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'Life of the certificate in days [env: CERTMINT_SERVE_CA_DAYS]')
            [CompletionResult]::new('--key-type', '--key-type', [CompletionResultType]::ParameterName, 'Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 [env: CERTMINT_SERVE_CA_KEY_TYPE]')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Pass requests on to this server, `http://host:port` [env: CERTMINT_SERVE_CA_UPSTREAM]')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Serve the files below DIR [default: a page that shows the connection''s certificate] [env: CERTMINT_SERVE_CA_ROOT]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the CA''s intermediate key: FILE''s first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_SERVE_CA_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--init', '--init', [CompletionResultType]::ParameterName, 'Make the CA first when there is none')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;serve-custom' {
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'The certificate with its intermediates, PEM [env: CERTMINT_SERVE_CUSTOM_CERT]')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Its private key, PEM [env: CERTMINT_SERVE_CUSTOM_KEY]')
            [CompletionResult]::new('--https', '--https', [CompletionResultType]::ParameterName, 'Address to serve https on; port 0 takes a free one [env: CERTMINT_SERVE_CUSTOM_HTTPS]')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Pass requests on to this server, `http://host:port` [env: CERTMINT_SERVE_CUSTOM_UPSTREAM]')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Serve the files below DIR [default: a page that shows the connection''s certificate] [env: CERTMINT_SERVE_CUSTOM_ROOT]')
            [CompletionResult]::new('--passphrase-file', '--passphrase-file', [CompletionResultType]::ParameterName, 'Passphrase of the key: FILE''s first line; `-` is standard input [env: CERTMINT_SERVE_CUSTOM_PASSPHRASE_FILE]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;serve-insecure' {
            [CompletionResult]::new('--http', '--http', [CompletionResultType]::ParameterName, 'Address to serve http on; port 0 takes a free one [env: CERTMINT_SERVE_INSECURE_HTTP]')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Pass requests on to this server, `http://host:port` [env: CERTMINT_SERVE_INSECURE_UPSTREAM]')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Serve the files below DIR [default: a page that shows the connection''s certificate] [env: CERTMINT_SERVE_INSECURE_ROOT]')
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('--allow-remote', '--allow-remote', [CompletionResultType]::ParameterName, 'Allow an address that others can reach')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;completions' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'certmint;generate' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong [env: CERTMINT_QUIET]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}

module completions {

  def "nu-complete certmint color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint log_format" [] {
    [ "text" "json" ]
  }

  # Owns a certificate's whole life on a machine: mints it from a private CA, serves it over TLS, renews it unattended, and tells the truth about it
  export extern certmint [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca log_format" [] {
    [ "text" "json" ]
  }

  # Run a private certificate authority
  export extern "certmint ca" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca init color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca init log_format" [] {
    [ "text" "json" ]
  }

  # Make a root and an intermediate in one go
  export extern "certmint ca init" [
    --name: string            # Name of the CA, as it stands in its certificates [default: the host's name and "CA"] [env: CERTMINT_CA_INIT_NAME]
    --org: string             # Organisation in the subjects [default: the CA's name] [env: CERTMINT_CA_INIT_ORG]
    --country: string         # Country in the subjects, two letters [env: CERTMINT_CA_INIT_COUNTRY]
    --key-type: string        # Key type of root and intermediate: p256, p384, ed25519, rsa3072, rsa4096 [env: CERTMINT_CA_INIT_KEY_TYPE]
    --root-days: string       # Life of the root in days [env: CERTMINT_CA_INIT_ROOT_DAYS]
    --intermediate-days: string # Life of the intermediate in days [env: CERTMINT_CA_INIT_INTERMEDIATE_DAYS]
    --permit: string          # Constrain the CA to these domains and address ranges; repeatable or with commas [env: CERTMINT_CA_INIT_PERMIT]
    --crl-url: string         # Where the CRLs are published, for certificates that live over 7 days: a plain http directory, under which each issuer's list is `<issuer>.crl` [env: CERTMINT_CA_INIT_CRL_URL]
    --passphrase-file: path   # Encrypt both keys with the passphrase on FILE's first line; `-` is standard input [env: CERTMINT_CA_INIT_PASSPHRASE_FILE]
    --root-passphrase-file: path # Encrypt the root key with another passphrase than the intermediate's [env: CERTMINT_CA_INIT_ROOT_PASSPHRASE_FILE]
    --encrypt                 # Encrypt both keys and ask for the passphrase on the terminal [env: CERTMINT_CA_INIT_ENCRYPT]
    --root-out: path          # Put the root key into DIR (a removable disk, say) and not into the state directory [env: CERTMINT_CA_INIT_ROOT_OUT]
    --if-missing              # Do nothing when there is a CA already [env: CERTMINT_CA_INIT_IF_MISSING]
    --force                   # Replace the CA; the old one is moved to backup/
    --json                    # Print the result as JSON [env: CERTMINT_CA_INIT_JSON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca init color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca init log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca status fail_on" [] {
    [ "warn" "critical" "never" ]
  }

  def "nu-complete certmint ca status color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca status log_format" [] {
    [ "text" "json" ]
  }

  # Show the hierarchy and everything issued, worst first
  export extern "certmint ca status" [
    --days: string            # Count a certificate as due when it expires within N days, whatever its life [env: CERTMINT_CA_STATUS_DAYS]
    --all                     # Show every certificate, also a thousand healthy ones
    --json                    # Print the status as JSON [env: CERTMINT_CA_STATUS_JSON]
    --fail-on: string@"nu-complete certmint ca status fail_on" # Least severity that gives exit code 3 (warn) or 4 (critical) [env: CERTMINT_CA_STATUS_FAIL_ON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca status color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca status log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca issue color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca issue log_format" [] {
    [ "text" "json" ]
  }

  # Issue certificates for names, with new keys
  export extern "certmint ca issue" [
    --from: path              # Issue one certificate for each line of FILE: `name[,name…]`; `-` is standard input [env: CERTMINT_CA_ISSUE_FROM]
    --client                  # For a client (mTLS) rather than a server [env: CERTMINT_CA_ISSUE_CLIENT]
    --both                    # For a client and a server [env: CERTMINT_CA_ISSUE_BOTH]
    --days: string            # Life in days, at most 825 [default: 90] [env: CERTMINT_CA_ISSUE_DAYS]
    --key-type: string        # Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 [env: CERTMINT_CA_ISSUE_KEY_TYPE]
    --id: string              # Keep it under this id instead of the first name [env: CERTMINT_CA_ISSUE_ID]
    --out: path               # Copy key and chain into DIR, now and at each renewal (with --from: DIR/<id>) [env: CERTMINT_CA_ISSUE_OUT]
    --mode: string            # Mode of the copied files that hold a key, octal [env: CERTMINT_CA_ISSUE_MODE]
    --owner: string           # Owner of the copied files [env: CERTMINT_CA_ISSUE_OWNER]
    --group: string           # Group of the copied files [env: CERTMINT_CA_ISSUE_GROUP]
    --p12: path               # Also write key and chain as PKCS#12 to FILE [env: CERTMINT_CA_ISSUE_P12]
    --p12-passphrase-file: path # Passphrase of the PKCS#12 file: FILE's first line; asked for on a terminal when not given [env: CERTMINT_CA_ISSUE_P12_PASSPHRASE_FILE]
    --reuse-key               # Renew with the same key instead of a new one [env: CERTMINT_CA_ISSUE_REUSE_KEY]
    --deploy-hook: string     # Command to run after each renewal, split like a shell line but run without a shell [env: CERTMINT_CA_ISSUE_DEPLOY_HOOK]
    --csr-only                # Only make a key and a signing request, in the directory of --out; nothing is issued
    --json                    # Print the result as JSON [env: CERTMINT_CA_ISSUE_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ISSUE_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca issue color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca issue log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...names: string          # DNS names, wildcards, IP addresses, e-mail addresses or URIs; the first gives the id
  ]

  def "nu-complete certmint ca sign color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca sign log_format" [] {
    [ "text" "json" ]
  }

  # Issue a certificate for a certificate signing request
  export extern "certmint ca sign" [
    --name: string            # Issue for these names instead of those in the request; repeatable or with commas [env: CERTMINT_CA_SIGN_NAME]
    --client                  # For a client (mTLS) rather than a server [env: CERTMINT_CA_SIGN_CLIENT]
    --both                    # For a client and a server [env: CERTMINT_CA_SIGN_BOTH]
    --days: string            # Life in days, at most 825 [default: 90] [env: CERTMINT_CA_SIGN_DAYS]
    --out: path               # Write the chain to FILE instead of standard output [env: CERTMINT_CA_SIGN_OUT]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_SIGN_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca sign color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca sign log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    csr: path                 # The request, PEM or DER; `-` is standard input
  ]

  def "nu-complete certmint ca list color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca list log_format" [] {
    [ "text" "json" ]
  }

  # List the certificates ever issued, soonest to expire first
  export extern "certmint ca list" [
    --expiring: string        # Only what expires within this time, such as `30d` [env: CERTMINT_CA_LIST_EXPIRING]
    --revoked                 # Only what was revoked [env: CERTMINT_CA_LIST_REVOKED]
    --name: string            # Only certificates with a name like this; `*` and `?` stand for any characters [env: CERTMINT_CA_LIST_NAME]
    --all                     # Also what has expired
    --limit: string           # At most N rows [env: CERTMINT_CA_LIST_LIMIT]
    --json                    # Print the list as JSON [env: CERTMINT_CA_LIST_JSON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca list color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca list log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca revoke color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca revoke log_format" [] {
    [ "text" "json" ]
  }

  # Revoke a certificate and sign a fresh CRL
  export extern "certmint ca revoke" [
    --reason: string          # Why (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn [env: CERTMINT_CA_REVOKE_REASON]
    --json                    # Print the result as JSON [env: CERTMINT_CA_REVOKE_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_REVOKE_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca revoke color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca revoke log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    target: string            # A serial number in hex, or an id or name, which means all its valid certificates
  ]

  def "nu-complete certmint ca crl color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca crl log_format" [] {
    [ "text" "json" ]
  }

  # Sign a fresh CRL
  export extern "certmint ca crl" [
    --out: path               # Write the CRL to FILE too; `-` is standard output [env: CERTMINT_CA_CRL_OUT]
    --der                     # Write DER instead of PEM [env: CERTMINT_CA_CRL_DER]
    --days: string            # Days until the next CRL is due [env: CERTMINT_CA_CRL_DAYS]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_CRL_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca crl color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca crl log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca rotate color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca rotate log_format" [] {
    [ "text" "json" ]
  }

  # Replace the intermediate or the root, without breaking clients
  export extern "certmint ca rotate" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca rotate color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca rotate log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca rotate intermediate color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca rotate intermediate log_format" [] {
    [ "text" "json" ]
  }

  # A new intermediate under the same root
  export extern "certmint ca rotate intermediate" [
    --root-key: path          # The root key, when it is kept elsewhere [env: CERTMINT_CA_ROTATE_INTERMEDIATE_ROOT_KEY]
    --root-passphrase-file: path # Passphrase of the root key: FILE's first line [default: --passphrase-file] [env: CERTMINT_CA_ROTATE_INTERMEDIATE_ROOT_PASSPHRASE_FILE]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ROTATE_INTERMEDIATE_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca rotate intermediate color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca rotate intermediate log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca rotate root color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca rotate root log_format" [] {
    [ "text" "json" ]
  }

  # A new root, cross-signed by the old one, and an intermediate under it
  export extern "certmint ca rotate root" [
    --root-key: path          # The root key, when it is kept elsewhere [env: CERTMINT_CA_ROTATE_ROOT_ROOT_KEY]
    --root-passphrase-file: path # Passphrase of the root key: FILE's first line [default: --passphrase-file] [env: CERTMINT_CA_ROTATE_ROOT_ROOT_PASSPHRASE_FILE]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ROTATE_ROOT_PASSPHRASE_FILE]
    --finish                  # End the rotation: stop serving the cross-certificate and drop the old root from root.pem
    --force                   # End it although certificates that are valid have only the old root above them
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca rotate root color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca rotate root log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca trust color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca trust log_format" [] {
    [ "text" "json" ]
  }

  # Install the root where programs look for trusted roots
  export extern "certmint ca trust" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca trust color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca trust log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca trust install color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca trust install log_format" [] {
    [ "text" "json" ]
  }

  # Install the root
  export extern "certmint ca trust install" [
    --store: string           # Trust stores: system, nss, java; repeatable or with commas [default: all that are there] [env: CERTMINT_CA_TRUST_INSTALL_STORE]
    --sysroot: path           # Root directory of the system to change
    --dry-run                 # Say what would be done without doing it
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca trust install color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca trust install log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca trust uninstall color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca trust uninstall log_format" [] {
    [ "text" "json" ]
  }

  # Remove every root that certmint installed for this CA
  export extern "certmint ca trust uninstall" [
    --store: string           # Trust stores: system, nss, java; repeatable or with commas [default: all that are there] [env: CERTMINT_CA_TRUST_UNINSTALL_STORE]
    --sysroot: path           # Root directory of the system to change
    --dry-run                 # Say what would be done without doing it
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca trust uninstall color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca trust uninstall log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca trust status color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca trust status log_format" [] {
    [ "text" "json" ]
  }

  # Say where the root is trusted
  export extern "certmint ca trust status" [
    --store: string           # Trust stores: system, nss, java; repeatable or with commas [default: all that are there] [env: CERTMINT_CA_TRUST_STATUS_STORE]
    --sysroot: path           # Root directory of the system to change
    --json                    # Print the status as JSON [env: CERTMINT_CA_TRUST_STATUS_JSON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca trust status color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca trust status log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca serve client_auth" [] {
    [ "require" "request" "fingerprint" ]
  }

  def "nu-complete certmint ca serve color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca serve log_format" [] {
    [ "text" "json" ]
  }

  # Be an ACME server: whoever shows control over permitted names obtains certificates
  export extern "certmint ca serve" [
    --https: string           # Address to answer ACME clients on, at /directory; port 0 takes a free one [env: CERTMINT_CA_SERVE_HTTPS]
    --http: string            # Address to publish the CRLs, the issuers' certificates and the roots on; or `off` [env: CERTMINT_CA_SERVE_HTTP]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_SERVE_PASSPHRASE_FILE]
    --permit: string          # Issue for these domains, with all below them, and address ranges, within the CA's own constraints; repeatable or with commas [default: the CA's own constraints] [env: CERTMINT_CA_SERVE_PERMIT]
    --permit-any              # Issue for any name over which control is shown, although the CA has no constraints [env: CERTMINT_CA_SERVE_PERMIT_ANY]
    --require-eab             # Serve only accounts that are bound to a key of `ca eab add` [env: CERTMINT_CA_SERVE_REQUIRE_EAB]
    --days: string            # Life of a certificate in days when its order says nothing (profile `default`) [env: CERTMINT_CA_SERVE_DAYS]
    --public-url: string      # What its URLs begin with, when clients reach it in another way than it is served [default: https and the host that the client asks for] [env: CERTMINT_CA_SERVE_PUBLIC_URL]
    --publish-url: string     # Where clients of certificates find the CRLs and the issuers, in certificates that live over 7 days [default: http, the first NAME and the port of --http] [env: CERTMINT_CA_SERVE_PUBLISH_URL]
    --terms-of-service: string # Terms of service that accounts have to agree to [env: CERTMINT_CA_SERVE_TERMS_OF_SERVICE]
    --website: string         # A page about this CA [env: CERTMINT_CA_SERVE_WEBSITE]
    --caa-identity: string    # Name of this CA in CAA records, which are looked at then; repeatable or with commas [env: CERTMINT_CA_SERVE_CAA_IDENTITY]
    --http01-port: string     # Port to look at http-01 on [env: CERTMINT_CA_SERVE_HTTP01_PORT]
    --tls-alpn01-port: string # Port to look at tls-alpn-01 on [env: CERTMINT_CA_SERVE_TLS_ALPN01_PORT]
    --allow-loopback          # Connect to loopback and link-local addresses as well [env: CERTMINT_CA_SERVE_ALLOW_LOOPBACK]
    --dns-server: string      # Name server to ask [default: the system's] [env: CERTMINT_CA_SERVE_DNS_SERVER]
    --max-accounts-per-client: string # New accounts of one client (an IPv4 address, an IPv6 /64) in an hour; more are answered with 429 [default: 100] [env: CERTMINT_CA_SERVE_MAX_ACCOUNTS_PER_CLIENT]
    --max-orders-per-account: string # New orders of one account in an hour, each counted once for each of its names [default: 3000] [env: CERTMINT_CA_SERVE_MAX_ORDERS_PER_ACCOUNT]
    --max-orders-per-client: string # New orders of one client, whatever its accounts, in an hour, each counted once for each of its names [default: 10000] [env: CERTMINT_CA_SERVE_MAX_ORDERS_PER_CLIENT]
    --max-open-orders: string # Unfinished orders of one account [default: 300] [env: CERTMINT_CA_SERVE_MAX_OPEN_ORDERS]
    --max-failures-per-name: string # Failed validations of one account and name in an hour [default: 20] [env: CERTMINT_CA_SERVE_MAX_FAILURES_PER_NAME]
    --max-certificates-per-name: string # Certificates for one name in an hour; renewals that are due count apart [default: 100] [env: CERTMINT_CA_SERVE_MAX_CERTIFICATES_PER_NAME]
    --max-validations: string # Validations at the same time [default: 256] [env: CERTMINT_CA_SERVE_MAX_VALIDATIONS]
    --proxy-protocol-from: string # Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_CA_SERVE_PROXY_PROTOCOL_FROM]
    --max-body: string        # Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_CA_SERVE_MAX_BODY]
    --rate-limit: string      # Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_CA_SERVE_RATE_LIMIT]
    --max-connections: string # Connections at the same time; more wait [default: 16384] [env: CERTMINT_CA_SERVE_MAX_CONNECTIONS]
    --max-connections-per-client: string # Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_CA_SERVE_MAX_CONNECTIONS_PER_CLIENT]
    --header-timeout: string  # For the header of a request [default: 10s] [env: CERTMINT_CA_SERVE_HEADER_TIMEOUT]
    --idle-timeout: string    # For a connection without a request [default: 60s] [env: CERTMINT_CA_SERVE_IDLE_TIMEOUT]
    --stall-timeout: string   # For a transfer that stands still [default: 60s] [env: CERTMINT_CA_SERVE_STALL_TIMEOUT]
    --drain-timeout: string   # For requests in flight when the server stops [default: 30s] [env: CERTMINT_CA_SERVE_DRAIN_TIMEOUT]
    --handshake-timeout: string # For the TLS handshake [default: 10s] [env: CERTMINT_CA_SERVE_HANDSHAKE_TIMEOUT]
    --hsts: string            # Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_CA_SERVE_HSTS]
    --client-auth: string@"nu-complete certmint ca serve client_auth" # How clients show who they are [default: they need not] [env: CERTMINT_CA_SERVE_CLIENT_AUTH]
    --client-ca: path         # Authorities whose client certificates are taken, PEM [env: CERTMINT_CA_SERVE_CLIENT_CA]
    --crl: path               # Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_CA_SERVE_CRL]
    --allow-fingerprint: string # A client's certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_CA_SERVE_ALLOW_FINGERPRINT]
    --admin: string           # Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_CA_SERVE_ADMIN]
    --admin-socket: path      # Unix socket for those who may reload it and ask how it is [env: CERTMINT_CA_SERVE_ADMIN_SOCKET]
    --access-log: string      # Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_CA_SERVE_ACCESS_LOG]
    --events: string          # Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_CA_SERVE_EVENTS]
    --user: string            # Go on as this user once the ports are bound [env: CERTMINT_CA_SERVE_USER]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca serve color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca serve log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...names: string          # Names of the directory itself; the first stands in its URLs [default: localhost, 127.0.0.1 and ::1, as far as the CA permits them]
  ]

  def "nu-complete certmint ca eab color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca eab log_format" [] {
    [ "text" "json" ]
  }

  # External account keys, by which the ACME server knows whom it serves
  export extern "certmint ca eab" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca eab color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca eab log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca eab add color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca eab add log_format" [] {
    [ "text" "json" ]
  }

  # Make a key, and show it once
  export extern "certmint ca eab add" [
    --permit: string          # The account may order for these domains, with all below them, and address ranges; repeatable or with commas [default: what the directory issues to others] [env: CERTMINT_CA_EAB_ADD_PERMIT]
    --skip-validation         # Believe the account that it controls these names, for machines that the directory cannot reach [env: CERTMINT_CA_EAB_ADD_SKIP_VALIDATION]
    --json                    # Print the key as JSON [env: CERTMINT_CA_EAB_ADD_JSON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca eab add color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca eab add log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca eab list color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca eab list log_format" [] {
    [ "text" "json" ]
  }

  # List the keys, without their secrets
  export extern "certmint ca eab list" [
    --json                    # Print the list as JSON [env: CERTMINT_CA_EAB_LIST_JSON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca eab list color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca eab list log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca eab remove color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca eab remove log_format" [] {
    [ "text" "json" ]
  }

  # Revoke a key: it binds no account, and the one that it binds may order no more
  export extern "certmint ca eab remove" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca eab remove color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca eab remove log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    kid: string               # The key's id
  ]

  def "nu-complete certmint ca account color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca account log_format" [] {
    [ "text" "json" ]
  }

  # Accounts of the ACME server: who has one, and who may have it no more
  export extern "certmint ca account" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca account color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca account log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca account list color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca account list log_format" [] {
    [ "text" "json" ]
  }

  # List the accounts, oldest first
  export extern "certmint ca account list" [
    --all                     # Also those that were deactivated or revoked
    --json                    # Print the list as JSON [env: CERTMINT_CA_ACCOUNT_LIST_JSON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca account list color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca account list log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint ca account revoke color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca account revoke log_format" [] {
    [ "text" "json" ]
  }

  # Shut an account out, for good: from now on each of its requests is refused
  export extern "certmint ca account revoke" [
    --revoke-certificates     # Revoke its certificates as well, and sign a fresh CRL
    --reason: string          # Why its certificates are revoked (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn [env: CERTMINT_CA_ACCOUNT_REVOKE_REASON]
    --json                    # Print the result as JSON [env: CERTMINT_CA_ACCOUNT_REVOKE_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_CA_ACCOUNT_REVOKE_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca account revoke color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca account revoke log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    id: string                # The account's id: the last part of its URL
  ]

  def "nu-complete certmint ca backup color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca backup log_format" [] {
    [ "text" "json" ]
  }

  # Copy the CA and its certificates into one archive, while it runs
  export extern "certmint ca backup" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca backup color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca backup log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    archive: path             # The archive to make (tar, mode 0600); must not exist
  ]

  def "nu-complete certmint ca restore color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint ca restore log_format" [] {
    [ "text" "json" ]
  }

  # Bring a CA back from an archive
  export extern "certmint ca restore" [
    --force                   # Replace the CA that is there; the old one is moved to backup/
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint ca restore color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint ca restore log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    archive: path             # An archive made by `ca backup`
  ]

  def "nu-complete certmint acme color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme log_format" [] {
    [ "text" "json" ]
  }

  # Obtain certificates from a public CA, or any other that speaks ACME
  export extern "certmint acme" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint acme issue color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme issue log_format" [] {
    [ "text" "json" ]
  }

  # Obtain a certificate for names, and keep what it takes to renew it
  export extern "certmint acme issue" [
    --from: path              # Obtain one certificate for each line of FILE, several at a time: `name[,name…]`; `-` is standard input [env: CERTMINT_ACME_ISSUE_FROM]
    --csr: path               # Obtain a certificate for the names and the key of a signing request, PEM or DER; it is printed or written to --out, and not renewed [env: CERTMINT_ACME_ISSUE_CSR]
    --force                   # Obtain a certificate also when the one there is still good for the same names
    --json                    # Print the result as JSON [env: CERTMINT_ACME_ISSUE_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ISSUE_PASSPHRASE_FILE]
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory; without it, the one that NAME's certificate came from, as it was asked then [env: CERTMINT_ACME_ISSUE_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE, instead of the system's [env: CERTMINT_ACME_ISSUE_CA_FILE]
    --fallback: string        # A second CA, asked when the first issues nothing [env: CERTMINT_ACME_ISSUE_FALLBACK]
    --profile: string         # One of the CA's profiles [env: CERTMINT_ACME_ISSUE_PROFILE]
    --preferred-chain: string # Prefer a chain that holds an issuer with this common name [env: CERTMINT_ACME_ISSUE_PREFERRED_CHAIN]
    --email: string           # Where the CA may write to; repeatable or with commas [env: CERTMINT_ACME_ISSUE_EMAIL]
    --agree-tos               # Agree to the CA's terms of service, which it is asked for when it has no account yet [env: CERTMINT_ACME_ISSUE_AGREE_TOS]
    --eab-kid: string         # Key id of the external account that the CA requires [env: CERTMINT_ACME_ISSUE_EAB_KID]
    --eab-hmac-file: path     # File with the external account's HMAC key in base64url, readable by its owner alone [env: CERTMINT_ACME_ISSUE_EAB_HMAC_FILE]
    --challenge: string       # http-01, tls-alpn-01 or dns-01 [default: what the other settings here are for, else tls-alpn-01 and then http-01] [env: CERTMINT_ACME_ISSUE_CHALLENGE]
    --http: string            # Answer http-01 here [default: [::]:80; the private CA looks at any port of this machine] [env: CERTMINT_ACME_ISSUE_HTTP]
    --https: string           # Answer tls-alpn-01 here [default: [::]:443; the private CA looks at any port of this machine] [env: CERTMINT_ACME_ISSUE_HTTPS]
    --webroot: path           # Leave answering http-01 to the web server that serves the files in DIR [env: CERTMINT_ACME_ISSUE_WEBROOT]
    --dns: string             # Show control by dns-01 with the table `[dns.CREDENTIAL]` of --dns-file [env: CERTMINT_ACME_ISSUE_DNS]
    --dns-file: path          # File with DNS credentials: tables `[dns.NAME]` with `provider = "rfc2136"`, say; if it has only one, --dns can be left out [env: CERTMINT_ACME_ISSUE_DNS_FILE]
    --dns-server: string      # Ask this name server where the zones are, instead of the system's [env: CERTMINT_ACME_ISSUE_DNS_SERVER]
    --key-type: string        # Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; some CAs take p521 and ed25519 [default: p256] [env: CERTMINT_ACME_ISSUE_KEY_TYPE]
    --id: string              # Keep it under this id instead of the first name [env: CERTMINT_ACME_ISSUE_ID]
    --reuse-key               # Renew with the same key instead of a new one [env: CERTMINT_ACME_ISSUE_REUSE_KEY]
    --deploy-hook: string     # Command to run now and after each renewal, split like a shell line but run without a shell; it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES [env: CERTMINT_ACME_ISSUE_DEPLOY_HOOK]
    --out: path               # Copy key and chain into DIR, now and at each renewal (with --from: DIR/<id>) [env: CERTMINT_ACME_ISSUE_OUT]
    --mode: string            # Mode of the copied files that hold a key, octal [env: CERTMINT_ACME_ISSUE_MODE]
    --owner: string           # Owner of the copied files [env: CERTMINT_ACME_ISSUE_OWNER]
    --group: string           # Group of the copied files [env: CERTMINT_ACME_ISSUE_GROUP]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme issue color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme issue log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...names: string          # DNS names, wildcards or IP addresses, all in one certificate; the first gives the id
  ]

  def "nu-complete certmint acme account color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme account log_format" [] {
    [ "text" "json" ]
  }

  # Look after the accounts at CAs: one for each directory
  export extern "certmint acme account" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme account color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme account log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint acme account show color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme account show log_format" [] {
    [ "text" "json" ]
  }

  # Show the accounts kept here, or what a CA says of one
  export extern "certmint acme account show" [
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory [env: CERTMINT_ACME_ACCOUNT_SHOW_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system's] [env: CERTMINT_ACME_ACCOUNT_SHOW_CA_FILE]
    --json                    # Print the result as JSON [env: CERTMINT_ACME_ACCOUNT_SHOW_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ACCOUNT_SHOW_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme account show color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme account show log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint acme account register color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme account register log_format" [] {
    [ "text" "json" ]
  }

  # Make an account, or find again the one that is there
  export extern "certmint acme account register" [
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory [env: CERTMINT_ACME_ACCOUNT_REGISTER_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system's] [env: CERTMINT_ACME_ACCOUNT_REGISTER_CA_FILE]
    --json                    # Print the result as JSON [env: CERTMINT_ACME_ACCOUNT_REGISTER_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ACCOUNT_REGISTER_PASSPHRASE_FILE]
    --email: string           # Where the CA may write to; repeatable or with commas [env: CERTMINT_ACME_ACCOUNT_REGISTER_EMAIL]
    --agree-tos               # Agree to the CA's terms of service, which it is asked for when it has no account yet [env: CERTMINT_ACME_ACCOUNT_REGISTER_AGREE_TOS]
    --eab-kid: string         # Key id of the external account that the CA requires [env: CERTMINT_ACME_ACCOUNT_REGISTER_EAB_KID]
    --eab-hmac-file: path     # File with the external account's HMAC key in base64url, readable by its owner alone [env: CERTMINT_ACME_ACCOUNT_REGISTER_EAB_HMAC_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme account register color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme account register log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint acme account contact color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme account contact log_format" [] {
    [ "text" "json" ]
  }

  # Replace the addresses that the CA may write to
  export extern "certmint acme account contact" [
    --none                    # Leave the CA no address
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory [env: CERTMINT_ACME_ACCOUNT_CONTACT_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system's] [env: CERTMINT_ACME_ACCOUNT_CONTACT_CA_FILE]
    --json                    # Print the result as JSON [env: CERTMINT_ACME_ACCOUNT_CONTACT_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ACCOUNT_CONTACT_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme account contact color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme account contact log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...emails: string         # The new addresses
  ]

  def "nu-complete certmint acme account rollover color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme account rollover log_format" [] {
    [ "text" "json" ]
  }

  # Replace the account's key
  export extern "certmint acme account rollover" [
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory [env: CERTMINT_ACME_ACCOUNT_ROLLOVER_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system's] [env: CERTMINT_ACME_ACCOUNT_ROLLOVER_CA_FILE]
    --json                    # Print the result as JSON [env: CERTMINT_ACME_ACCOUNT_ROLLOVER_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ACCOUNT_ROLLOVER_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme account rollover color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme account rollover log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint acme account deactivate color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme account deactivate log_format" [] {
    [ "text" "json" ]
  }

  # End an account for good
  export extern "certmint acme account deactivate" [
    --yes                     # Do not ask
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory [env: CERTMINT_ACME_ACCOUNT_DEACTIVATE_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system's] [env: CERTMINT_ACME_ACCOUNT_DEACTIVATE_CA_FILE]
    --json                    # Print the result as JSON [env: CERTMINT_ACME_ACCOUNT_DEACTIVATE_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_ACCOUNT_DEACTIVATE_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme account deactivate color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme account deactivate log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint acme revoke reason" [] {
    [ "unspecified" "keyCompromise" "affiliationChanged" "superseded" "cessationOfOperation" ]
  }

  def "nu-complete certmint acme revoke color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint acme revoke log_format" [] {
    [ "text" "json" ]
  }

  # Have a certificate revoked by the CA that issued it
  export extern "certmint acme revoke" [
    --cert: path              # The certificate in FILE (PEM; its first) instead of one kept here [env: CERTMINT_ACME_REVOKE_CERT]
    --key: path               # Ask as the holder of the certificate's private key, in FILE, instead of by the account [env: CERTMINT_ACME_REVOKE_KEY]
    --reason: string@"nu-complete certmint acme revoke reason" # Why (RFC 5280 §5.3.1) [env: CERTMINT_ACME_REVOKE_REASON]
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own), or the https URL of its directory [env: CERTMINT_ACME_REVOKE_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE [default: those that certificates from there were obtained with, else the system's] [env: CERTMINT_ACME_REVOKE_CA_FILE]
    --json                    # Print the result as JSON [env: CERTMINT_ACME_REVOKE_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_ACME_REVOKE_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint acme revoke color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint acme revoke log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    id?: string               # A certificate kept here, by id or first name
  ]

  def "nu-complete certmint renew color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint renew log_format" [] {
    [ "text" "json" ]
  }

  # Renew every certificate that is due
  export extern "certmint renew" [
    --dry-run                 # Say what would be done, and when to look again, without doing it
    --force                   # Renew also what is not due or was put off after a failure
    --splay: string           # Wait once, at random up to this long, before a public CA is asked for anything, so that not all machines ask at the same moment; nothing waits when none has to be asked [env: CERTMINT_RENEW_SPLAY]
    --deploy-hook: string     # Command to run after each renewal, split like a shell line but run without a shell; it gets CERTMINT_HOOK_ID, CERTMINT_HOOK_PATH and CERTMINT_HOOK_NAMES [env: CERTMINT_RENEW_DEPLOY_HOOK]
    --hook-timeout: string    # How long each hook may run before it is ended [default: 2m] [env: CERTMINT_RENEW_HOOK_TIMEOUT]
    --json                    # Print the outcome as JSON [env: CERTMINT_RENEW_JSON]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; never asked for [env: CERTMINT_RENEW_PASSPHRASE_FILE]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint renew color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint renew log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...ids: string            # Certificates to look at, by id or first name; all when none is named
  ]

  def "nu-complete certmint inspect fail_on" [] {
    [ "warn" "critical" "never" ]
  }

  def "nu-complete certmint inspect color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint inspect log_format" [] {
    [ "text" "json" ]
  }

  # Show what a file, a directory or a live endpoint holds, and what is wrong with it
  export extern "certmint inspect" [
    --servername: string      # Name to ask an endpoint for, instead of the host in TARGET [env: CERTMINT_INSPECT_SERVERNAME]
    --ca-file: path           # Verify an endpoint against the roots in FILE, instead of the system's [env: CERTMINT_INSPECT_CA_FILE]
    --passphrase-file: path   # Passphrase of an encrypted key or PKCS#12 file: FILE's first line, `-` is standard input [env: CERTMINT_INSPECT_PASSPHRASE_FILE]
    --json                    # Print the report as JSON [env: CERTMINT_INSPECT_JSON]
    --fail-on: string@"nu-complete certmint inspect fail_on" # Least severity that gives exit code 3 (warn) or 4 (critical) [env: CERTMINT_INSPECT_FAIL_ON]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint inspect color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint inspect log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    target: string            # A PEM, DER or PKCS#12 file, a directory, `-` for standard input, or `host:port`
  ]

  def "nu-complete certmint serve color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint serve log_format" [] {
    [ "text" "json" ]
  }

  # Serve what a file says, on any number of listeners
  export extern "certmint serve" [
    --config: path            # File with a table `[[listener]]` for each listener, whose keys are the flags of the command `serve-…` that `mode` names [env: CERTMINT_SERVE_CONFIG]
    --check-config            # Say everything that is wrong with the file, and serve nothing
    --admin: string           # Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_ADMIN]
    --admin-socket: path      # Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_ADMIN_SOCKET]
    --access-log: string      # Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_ACCESS_LOG]
    --events: string          # Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_EVENTS]
    --user: string            # Go on as this user once the ports are bound [env: CERTMINT_SERVE_USER]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint serve color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint serve log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint serve-ca on_miss" [] {
    [ "placeholder" "wait" "reject" ]
  }

  def "nu-complete certmint serve-ca client_auth" [] {
    [ "require" "request" "fingerprint" ]
  }

  def "nu-complete certmint serve-ca color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint serve-ca log_format" [] {
    [ "text" "json" ]
  }

  # Serve over TLS with a certificate of the private CA
  export extern "certmint serve-ca" [
    --init                    # Make the CA first when there is none
    --https: string           # Address to serve https on; port 0 takes a free one [env: CERTMINT_SERVE_CA_HTTPS]
    --http: string            # Address to send clients to https from; or `off` [env: CERTMINT_SERVE_CA_HTTP]
    --days: string            # Life of the certificate in days [env: CERTMINT_SERVE_CA_DAYS]
    --key-type: string        # Kind of key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 [env: CERTMINT_SERVE_CA_KEY_TYPE]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_SERVE_CA_PASSPHRASE_FILE]
    --on-demand               # Make certificates for names when clients ask for them; NAME may be left out [env: CERTMINT_SERVE_CA_ON_DEMAND]
    --allow: string           # Names that may have one: `*.example.com`, or `**.example.com` for any depth; repeatable or with commas [env: CERTMINT_SERVE_CA_ALLOW]
    --ask: string             # Ask here for permission, with `?domain=NAME&client=ADDRESS`: 2xx is a yes, 4xx a no [env: CERTMINT_SERVE_CA_ASK]
    --ask-ca: path            # Verify the address of --ask by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_CA_ASK_CA]
    --allow-hook: string      # Ask this program for permission, with CERTMINT_HOOK_NAME: status 0 is a yes, 1 a no [env: CERTMINT_SERVE_CA_ALLOW_HOOK]
    --provision-hook: string  # A program that may have the certificate: it writes key and chain as PEM, or `acme` [env: CERTMINT_SERVE_CA_PROVISION_HOOK]
    --on-miss: string@"nu-complete certmint serve-ca on_miss" # What clients see meanwhile [default: placeholder with a public CA, wait with the private one] [env: CERTMINT_SERVE_CA_ON_MISS]
    --default-cert: path      # The placeholder with its intermediates, PEM [default: a self-signed one, made at the start] [env: CERTMINT_SERVE_CA_DEFAULT_CERT]
    --default-key: path       # Its private key, PEM [default: in the same file] [env: CERTMINT_SERVE_CA_DEFAULT_KEY]
    --forget-after: string    # Let go of names that nobody has asked for in so long [default: 30d] [env: CERTMINT_SERVE_CA_FORGET_AFTER]
    --max-in-flight: string   # Certificates being made at the same time [default: 8; private CA: 4] [env: CERTMINT_SERVE_CA_MAX_IN_FLIGHT]
    --max-queue: string       # Names that wait for their turn [default: 64; private CA: 256] [env: CERTMINT_SERVE_CA_MAX_QUEUE]
    --max-names-per-hour: string # New names in an hour [default: 80; private CA: 1000] [env: CERTMINT_SERVE_CA_MAX_NAMES_PER_HOUR]
    --max-names-per-domain: string # New names below a registered domain in seven days [default: 40; private CA: 10000] [env: CERTMINT_SERVE_CA_MAX_NAMES_PER_DOMAIN]
    --max-names-per-client: string # New names that one client may ask for in an hour [default: 20; private CA: 100] [env: CERTMINT_SERVE_CA_MAX_NAMES_PER_CLIENT]
    --upstream: string        # Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_CA_UPSTREAM]
    --upstream-ca: path       # Verify https upstreams by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_CA_UPSTREAM_CA]
    --trusted-proxy: string   # Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_CA_TRUSTED_PROXY]
    --root: path              # Serve the files below DIR [default: a page that shows the connection's certificate] [env: CERTMINT_SERVE_CA_ROOT]
    --proxy-protocol-from: string # Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_CA_PROXY_PROTOCOL_FROM]
    --max-body: string        # Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_CA_MAX_BODY]
    --rate-limit: string      # Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_CA_RATE_LIMIT]
    --max-connections: string # Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_CA_MAX_CONNECTIONS]
    --max-connections-per-client: string # Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_CA_MAX_CONNECTIONS_PER_CLIENT]
    --header-timeout: string  # For the header of a request [default: 10s] [env: CERTMINT_SERVE_CA_HEADER_TIMEOUT]
    --idle-timeout: string    # For a connection without a request [default: 60s] [env: CERTMINT_SERVE_CA_IDLE_TIMEOUT]
    --stall-timeout: string   # For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_CA_STALL_TIMEOUT]
    --drain-timeout: string   # For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_CA_DRAIN_TIMEOUT]
    --upstream-connect-timeout: string # To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_CA_UPSTREAM_CONNECT_TIMEOUT]
    --upstream-answer-timeout: string # For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_CA_UPSTREAM_ANSWER_TIMEOUT]
    --handshake-timeout: string # For the TLS handshake [default: 10s] [env: CERTMINT_SERVE_CA_HANDSHAKE_TIMEOUT]
    --hsts: string            # Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_SERVE_CA_HSTS]
    --client-auth: string@"nu-complete certmint serve-ca client_auth" # How clients show who they are [default: they need not] [env: CERTMINT_SERVE_CA_CLIENT_AUTH]
    --client-ca: path         # Authorities whose client certificates are taken, PEM [env: CERTMINT_SERVE_CA_CLIENT_CA]
    --crl: path               # Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_SERVE_CA_CRL]
    --allow-fingerprint: string # A client's certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_SERVE_CA_ALLOW_FINGERPRINT]
    --admin: string           # Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_CA_ADMIN]
    --admin-socket: path      # Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_CA_ADMIN_SOCKET]
    --access-log: string      # Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CA_ACCESS_LOG]
    --events: string          # Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CA_EVENTS]
    --user: string            # Go on as this user once the ports are bound [env: CERTMINT_SERVE_CA_USER]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint serve-ca color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint serve-ca log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...names: string          # Names to serve; the first gives the certificate its id
  ]

  def "nu-complete certmint serve-acme on_miss" [] {
    [ "placeholder" "wait" "reject" ]
  }

  def "nu-complete certmint serve-acme client_auth" [] {
    [ "require" "request" "fingerprint" ]
  }

  def "nu-complete certmint serve-acme color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint serve-acme log_format" [] {
    [ "text" "json" ]
  }

  # Serve over TLS with a certificate of a public CA, obtained and renewed by itself
  export extern "certmint serve-acme" [
    --https: string           # Address to serve https on, and to answer tls-alpn-01 on [env: CERTMINT_SERVE_ACME_HTTPS]
    --http: string            # Address to answer http-01 on, and to send clients to https from; or `off` [env: CERTMINT_SERVE_ACME_HTTP]
    --cache-dir: path         # Keep the certificate in DIR instead of the state directory; the account stays there [env: CERTMINT_SERVE_ACME_CACHE_DIR]
    --start-timeout: string   # How long a start without a valid certificate may take [env: CERTMINT_SERVE_ACME_START_TIMEOUT]
    --key-type: string        # Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; some CAs take p521 and ed25519 [env: CERTMINT_SERVE_ACME_KEY_TYPE]
    --passphrase-file: path   # Passphrase of the CA's intermediate key: FILE's first line; `-` is standard input, a descriptor is /dev/fd/N; asked for on a terminal when not given [env: CERTMINT_SERVE_ACME_PASSPHRASE_FILE]
    --directory: string       # The CA: letsencrypt, letsencrypt-staging, zerossl, google, private (this machine's own, made first when there is none), or the https URL of its directory [env: CERTMINT_SERVE_ACME_DIRECTORY]
    --ca-file: path           # Trust the directory's own TLS by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_ACME_CA_FILE]
    --fallback: string        # A second CA, asked when the first issues nothing [env: CERTMINT_SERVE_ACME_FALLBACK]
    --profile: string         # One of the CA's profiles [env: CERTMINT_SERVE_ACME_PROFILE]
    --preferred-chain: string # Prefer a chain that holds an issuer with this common name [env: CERTMINT_SERVE_ACME_PREFERRED_CHAIN]
    --email: string           # Where the CA may write to; repeatable or with commas [env: CERTMINT_SERVE_ACME_EMAIL]
    --agree-tos               # Agree to the CA's terms of service, which it is asked for when it has no account yet [env: CERTMINT_SERVE_ACME_AGREE_TOS]
    --eab-kid: string         # Key id of the external account that the CA requires [env: CERTMINT_SERVE_ACME_EAB_KID]
    --eab-hmac-file: path     # File with the external account's HMAC key in base64url, readable by its owner alone [env: CERTMINT_SERVE_ACME_EAB_HMAC_FILE]
    --challenge: string       # http-01, tls-alpn-01 or dns-01 [default: dns-01 with --dns, http-01 with --webroot, else tls-alpn-01 and then http-01] [env: CERTMINT_SERVE_ACME_CHALLENGE]
    --webroot: path           # Leave answering http-01 to the web server that serves the files in DIR [env: CERTMINT_SERVE_ACME_WEBROOT]
    --dns: string             # Show control by dns-01 with the table `[dns.CREDENTIAL]` of --dns-file [env: CERTMINT_SERVE_ACME_DNS]
    --dns-file: path          # File with DNS credentials: tables `[dns.NAME]` with `provider = "rfc2136"`, say; if it has only one, --dns can be left out [env: CERTMINT_SERVE_ACME_DNS_FILE]
    --dns-server: string      # Ask this name server where the zones are, instead of the system's [env: CERTMINT_SERVE_ACME_DNS_SERVER]
    --on-demand               # Make certificates for names when clients ask for them; NAME may be left out [env: CERTMINT_SERVE_ACME_ON_DEMAND]
    --allow: string           # Names that may have one: `*.example.com`, or `**.example.com` for any depth; repeatable or with commas [env: CERTMINT_SERVE_ACME_ALLOW]
    --ask: string             # Ask here for permission, with `?domain=NAME&client=ADDRESS`: 2xx is a yes, 4xx a no [env: CERTMINT_SERVE_ACME_ASK]
    --ask-ca: path            # Verify the address of --ask by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_ACME_ASK_CA]
    --allow-hook: string      # Ask this program for permission, with CERTMINT_HOOK_NAME: status 0 is a yes, 1 a no [env: CERTMINT_SERVE_ACME_ALLOW_HOOK]
    --provision-hook: string  # A program that may have the certificate: it writes key and chain as PEM, or `acme` [env: CERTMINT_SERVE_ACME_PROVISION_HOOK]
    --on-miss: string@"nu-complete certmint serve-acme on_miss" # What clients see meanwhile [default: placeholder with a public CA, wait with the private one] [env: CERTMINT_SERVE_ACME_ON_MISS]
    --default-cert: path      # The placeholder with its intermediates, PEM [default: a self-signed one, made at the start] [env: CERTMINT_SERVE_ACME_DEFAULT_CERT]
    --default-key: path       # Its private key, PEM [default: in the same file] [env: CERTMINT_SERVE_ACME_DEFAULT_KEY]
    --forget-after: string    # Let go of names that nobody has asked for in so long [default: 30d] [env: CERTMINT_SERVE_ACME_FORGET_AFTER]
    --max-in-flight: string   # Certificates being made at the same time [default: 8; private CA: 4] [env: CERTMINT_SERVE_ACME_MAX_IN_FLIGHT]
    --max-queue: string       # Names that wait for their turn [default: 64; private CA: 256] [env: CERTMINT_SERVE_ACME_MAX_QUEUE]
    --max-names-per-hour: string # New names in an hour [default: 80; private CA: 1000] [env: CERTMINT_SERVE_ACME_MAX_NAMES_PER_HOUR]
    --max-names-per-domain: string # New names below a registered domain in seven days [default: 40; private CA: 10000] [env: CERTMINT_SERVE_ACME_MAX_NAMES_PER_DOMAIN]
    --max-names-per-client: string # New names that one client may ask for in an hour [default: 20; private CA: 100] [env: CERTMINT_SERVE_ACME_MAX_NAMES_PER_CLIENT]
    --upstream: string        # Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_ACME_UPSTREAM]
    --upstream-ca: path       # Verify https upstreams by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_ACME_UPSTREAM_CA]
    --trusted-proxy: string   # Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_ACME_TRUSTED_PROXY]
    --root: path              # Serve the files below DIR [default: a page that shows the connection's certificate] [env: CERTMINT_SERVE_ACME_ROOT]
    --proxy-protocol-from: string # Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_ACME_PROXY_PROTOCOL_FROM]
    --max-body: string        # Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_ACME_MAX_BODY]
    --rate-limit: string      # Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_ACME_RATE_LIMIT]
    --max-connections: string # Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_ACME_MAX_CONNECTIONS]
    --max-connections-per-client: string # Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_ACME_MAX_CONNECTIONS_PER_CLIENT]
    --header-timeout: string  # For the header of a request [default: 10s] [env: CERTMINT_SERVE_ACME_HEADER_TIMEOUT]
    --idle-timeout: string    # For a connection without a request [default: 60s] [env: CERTMINT_SERVE_ACME_IDLE_TIMEOUT]
    --stall-timeout: string   # For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_ACME_STALL_TIMEOUT]
    --drain-timeout: string   # For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_ACME_DRAIN_TIMEOUT]
    --upstream-connect-timeout: string # To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_ACME_UPSTREAM_CONNECT_TIMEOUT]
    --upstream-answer-timeout: string # For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_ACME_UPSTREAM_ANSWER_TIMEOUT]
    --handshake-timeout: string # For the TLS handshake [default: 10s] [env: CERTMINT_SERVE_ACME_HANDSHAKE_TIMEOUT]
    --hsts: string            # Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_SERVE_ACME_HSTS]
    --client-auth: string@"nu-complete certmint serve-acme client_auth" # How clients show who they are [default: they need not] [env: CERTMINT_SERVE_ACME_CLIENT_AUTH]
    --client-ca: path         # Authorities whose client certificates are taken, PEM [env: CERTMINT_SERVE_ACME_CLIENT_CA]
    --crl: path               # Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_SERVE_ACME_CRL]
    --allow-fingerprint: string # A client's certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_SERVE_ACME_ALLOW_FINGERPRINT]
    --admin: string           # Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_ACME_ADMIN]
    --admin-socket: path      # Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_ACME_ADMIN_SOCKET]
    --access-log: string      # Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_ACME_ACCESS_LOG]
    --events: string          # Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_ACME_EVENTS]
    --user: string            # Go on as this user once the ports are bound [env: CERTMINT_SERVE_ACME_USER]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint serve-acme color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint serve-acme log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...names: string          # Names to serve, all in one certificate; the first gives it its id
  ]

  def "nu-complete certmint serve-custom client_auth" [] {
    [ "require" "request" "fingerprint" ]
  }

  def "nu-complete certmint serve-custom color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint serve-custom log_format" [] {
    [ "text" "json" ]
  }

  # Serve over TLS with a certificate and key from files
  export extern "certmint serve-custom" [
    --cert: path              # The certificate with its intermediates, PEM [env: CERTMINT_SERVE_CUSTOM_CERT]
    --key: path               # Its private key, PEM [env: CERTMINT_SERVE_CUSTOM_KEY]
    --raw-key: path           # No certificate, but this Ed25519 key, PEM, for clients that know it (RFC 7250) [env: CERTMINT_SERVE_CUSTOM_RAW_KEY]
    --self-signed: string     # A certificate for NAME that nobody vouches for, made now and never written: to try things out; can be given again [env: CERTMINT_SERVE_CUSTOM_SELF_SIGNED]
    --passphrase-file: path   # Passphrase of the key: FILE's first line; `-` is standard input [env: CERTMINT_SERVE_CUSTOM_PASSPHRASE_FILE]
    --https: string           # Address to serve https on; port 0 takes a free one [env: CERTMINT_SERVE_CUSTOM_HTTPS]
    --http: string            # Address to send clients to https from; or `off` [env: CERTMINT_SERVE_CUSTOM_HTTP]
    --upstream: string        # Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_CUSTOM_UPSTREAM]
    --upstream-ca: path       # Verify https upstreams by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_CUSTOM_UPSTREAM_CA]
    --trusted-proxy: string   # Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_CUSTOM_TRUSTED_PROXY]
    --root: path              # Serve the files below DIR [default: a page that shows the connection's certificate] [env: CERTMINT_SERVE_CUSTOM_ROOT]
    --proxy-protocol-from: string # Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_CUSTOM_PROXY_PROTOCOL_FROM]
    --max-body: string        # Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_CUSTOM_MAX_BODY]
    --rate-limit: string      # Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_CUSTOM_RATE_LIMIT]
    --max-connections: string # Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_CUSTOM_MAX_CONNECTIONS]
    --max-connections-per-client: string # Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_CUSTOM_MAX_CONNECTIONS_PER_CLIENT]
    --header-timeout: string  # For the header of a request [default: 10s] [env: CERTMINT_SERVE_CUSTOM_HEADER_TIMEOUT]
    --idle-timeout: string    # For a connection without a request [default: 60s] [env: CERTMINT_SERVE_CUSTOM_IDLE_TIMEOUT]
    --stall-timeout: string   # For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_CUSTOM_STALL_TIMEOUT]
    --drain-timeout: string   # For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_CUSTOM_DRAIN_TIMEOUT]
    --upstream-connect-timeout: string # To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_CUSTOM_UPSTREAM_CONNECT_TIMEOUT]
    --upstream-answer-timeout: string # For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_CUSTOM_UPSTREAM_ANSWER_TIMEOUT]
    --handshake-timeout: string # For the TLS handshake [default: 10s] [env: CERTMINT_SERVE_CUSTOM_HANDSHAKE_TIMEOUT]
    --hsts: string            # Tell clients to use https alone for this long: `365d`, or `365d include-subdomains` [env: CERTMINT_SERVE_CUSTOM_HSTS]
    --client-auth: string@"nu-complete certmint serve-custom client_auth" # How clients show who they are [default: they need not] [env: CERTMINT_SERVE_CUSTOM_CLIENT_AUTH]
    --client-ca: path         # Authorities whose client certificates are taken, PEM [env: CERTMINT_SERVE_CUSTOM_CLIENT_CA]
    --crl: path               # Revocation list of such an authority, PEM or DER; repeatable [env: CERTMINT_SERVE_CUSTOM_CRL]
    --allow-fingerprint: string # A client's certificate (`SHA256:…`) or raw public key (`ed25519:…`); repeatable or with commas [env: CERTMINT_SERVE_CUSTOM_ALLOW_FINGERPRINT]
    --admin: string           # Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_CUSTOM_ADMIN]
    --admin-socket: path      # Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_CUSTOM_ADMIN_SOCKET]
    --access-log: string      # Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CUSTOM_ACCESS_LOG]
    --events: string          # Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_CUSTOM_EVENTS]
    --user: string            # Go on as this user once the ports are bound [env: CERTMINT_SERVE_CUSTOM_USER]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint serve-custom color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint serve-custom log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint serve-insecure color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint serve-insecure log_format" [] {
    [ "text" "json" ]
  }

  # Serve plain HTTP, for trying things out
  export extern "certmint serve-insecure" [
    --http: string            # Address to serve http on; port 0 takes a free one [env: CERTMINT_SERVE_INSECURE_HTTP]
    --allow-remote            # Allow an address that others can reach
    --upstream: string        # Pass requests on to this server: `http://host:port`, `https://…` or `h2c://…`; repeatable: each goes to the one with the fewest at the time [env: CERTMINT_SERVE_INSECURE_UPSTREAM]
    --upstream-ca: path       # Verify https upstreams by the roots in FILE, instead of the system's [env: CERTMINT_SERVE_INSECURE_UPSTREAM_CA]
    --trusted-proxy: string   # Pass on what proxies in this network say of their clients (`X-Forwarded-*`, `Forwarded`); repeatable or with commas [env: CERTMINT_SERVE_INSECURE_TRUSTED_PROXY]
    --root: path              # Serve the files below DIR [default: a page that shows the connection's certificate] [env: CERTMINT_SERVE_INSECURE_ROOT]
    --proxy-protocol-from: string # Require the PROXY protocol (version 1 or 2) of load balancers in this network, and believe it; repeatable or with commas [env: CERTMINT_SERVE_INSECURE_PROXY_PROTOCOL_FROM]
    --max-body: string        # Longest body of a request, such as 100MiB; a longer one is answered with 413 [default: 100MiB] [env: CERTMINT_SERVE_INSECURE_MAX_BODY]
    --rate-limit: string      # Requests of one client (an IPv4 address, an IPv6 /64), such as `50/s burst 100`; more are answered with 429 [default: no limit] [env: CERTMINT_SERVE_INSECURE_RATE_LIMIT]
    --max-connections: string # Connections at the same time; more wait [default: 16384] [env: CERTMINT_SERVE_INSECURE_MAX_CONNECTIONS]
    --max-connections-per-client: string # Connections at the same time of one client; more are closed [default: 4096] [env: CERTMINT_SERVE_INSECURE_MAX_CONNECTIONS_PER_CLIENT]
    --header-timeout: string  # For the header of a request [default: 10s] [env: CERTMINT_SERVE_INSECURE_HEADER_TIMEOUT]
    --idle-timeout: string    # For a connection without a request [default: 60s] [env: CERTMINT_SERVE_INSECURE_IDLE_TIMEOUT]
    --stall-timeout: string   # For a transfer that stands still [default: 60s] [env: CERTMINT_SERVE_INSECURE_STALL_TIMEOUT]
    --drain-timeout: string   # For requests in flight when the server stops [default: 30s] [env: CERTMINT_SERVE_INSECURE_DRAIN_TIMEOUT]
    --upstream-connect-timeout: string # To connect to the upstream [default: 5s] [env: CERTMINT_SERVE_INSECURE_UPSTREAM_CONNECT_TIMEOUT]
    --upstream-answer-timeout: string # For the upstream to begin its answer [default: 60s] [env: CERTMINT_SERVE_INSECURE_UPSTREAM_ANSWER_TIMEOUT]
    --admin: string           # Address that answers /health, /ready and /metrics in plain http; or `off` [default: off] [env: CERTMINT_SERVE_INSECURE_ADMIN]
    --admin-socket: path      # Unix socket for those who may reload it and ask how it is [env: CERTMINT_SERVE_INSECURE_ADMIN_SOCKET]
    --access-log: string      # Write a line for each request to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_INSECURE_ACCESS_LOG]
    --events: string          # Write a line of JSON for each event to `stdout`, `stderr` or a file [env: CERTMINT_SERVE_INSECURE_EVENTS]
    --user: string            # Go on as this user once the ports are bound [env: CERTMINT_SERVE_INSECURE_USER]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint serve-insecure color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint serve-insecure log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete certmint health color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint health log_format" [] {
    [ "text" "json" ]
  }

  # Ask a running server whether it is ready; 0 when it is, 4 when not
  export extern "certmint health" [
    --timeout: string         # How long the answer may take [env: CERTMINT_HEALTH_TIMEOUT]
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint health color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint health log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    url?: string              # `http://host:port[/path]` of a server's admin address, or `unix:PATH` of its admin socket; /ready is asked where no path is given [env: CERTMINT_HEALTH_URL] [default: http://127.0.0.1:9900/ready]
  ]

  def "nu-complete certmint completions shell" [] {
    [ "bash" "zsh" "fish" "powershell" "elvish" "nushell" ]
  }

  def "nu-complete certmint completions color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint completions log_format" [] {
    [ "text" "json" ]
  }

  # Print the completion script of a shell
  export extern "certmint completions" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint completions color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint completions log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    shell: string@"nu-complete certmint completions shell" # The shell
  ]

  def "nu-complete certmint generate what" [] {
    [ "man" "completions" ]
  }

  def "nu-complete certmint generate color" [] {
    [ "auto" "always" "never" ]
  }

  def "nu-complete certmint generate log_format" [] {
    [ "text" "json" ]
  }

  # Render man pages or completion scripts into a directory
  export extern "certmint generate" [
    --home: path              # State directory [default: /var/lib/certmint for root, else $XDG_DATA_HOME/certmint] [env: CERTMINT_HOME]
    --quiet(-q)               # Say only what went wrong [env: CERTMINT_QUIET]
    --verbose(-v)             # Say more; twice for everything
    --color: string@"nu-complete certmint generate color" # When to use colour; NO_COLOR is honoured [env: CERTMINT_COLOR]
    --log-format: string@"nu-complete certmint generate log_format" # How messages of long-running commands look [env: CERTMINT_LOG_FORMAT]
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    what: string@"nu-complete certmint generate what" # What to render
    dir: path                 # Where to put it
  ]

}

export use completions *

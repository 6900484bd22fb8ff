//! Hostile certification requests: each is refused for its own reason, or gives a
//! certificate with exactly the names that policy allows.

use std::error::Error as _;
use std::sync::Arc;

use certmint::bundle::{Certificate, to_pem};
use certmint::clock::SystemClock;
use certmint::identifier::Identifier;
use certmint::issuer::Usage;
use certmint::key::{KeyType, PrivateKey, encode_pem};
use certmint::pki::{CaError, CsrNames, CsrRequest, PrivateCa, SignedCsr};
use rcgen::SigningKey as _;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use crate::pki::{make, permit, request};
use crate::support::{Run, TestEnv, tool};

/// What must come of a request.
enum Outcome {
    /// Refused, and the reason says this; nothing when it depends on chance.
    Refused(&'static str),
    /// Signed for exactly these names.
    Issued(&'static [&'static str]),
}
use Outcome::{Issued, Refused};

const WWW: &[&str] = &["www.home.arpa"];

struct Bench {
    env: TestEnv,
    ca: PrivateCa,
    key: PrivateKey,
}

impl Bench {
    fn new() -> Self {
        let env = TestEnv::new();
        let mut request = request();
        request.permit = permit(&["home.arpa", "10.0.0.0/8"]);
        make(&env, &request);
        let ca = PrivateCa::open(&env.state(), None, Arc::new(SystemClock)).unwrap();
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        env.write("p256.pem", key.to_pem().as_bytes());
        Self { env, ca, key }
    }

    fn sign(&self, csr: &[u8], names: CsrNames) -> Result<SignedCsr, CaError> {
        let request = CsrRequest {
            names,
            usage: Usage::Server,
            lifetime: None,
            not_before: None,
            not_after: None,
            publication: None,
        };
        self.ca.sign_csr(csr, &request)
    }

    /// Holds one request against its outcome; returns what was noted.
    fn judge(&self, what: &str, csr: &[u8], outcome: &Outcome) -> Vec<String> {
        let result = self.sign(csr, CsrNames::Requested);
        match (result, outcome) {
            (Err(error), Refused(reason)) => {
                let told = told(&error);
                assert!(told.contains(reason), "{what}: {told}");
                Vec::new()
            }
            (Ok(signed), Issued(names)) => {
                self.hold(what, csr, &signed, names);
                signed.notes
            }
            (Err(error), Issued(_)) => panic!("{what}: refused: {}", told(&error)),
            (Ok(signed), Refused(_)) => panic!("{what}: issued {:?}", signed.chain),
        }
    }

    fn hold(&self, what: &str, csr: &[u8], signed: &SignedCsr, names: &[&str]) {
        let leaf = &signed.chain[0];
        let wanted: Vec<Identifier> = names
            .iter()
            .map(|n| Identifier::parse(n).unwrap())
            .collect();
        assert_eq!(leaf.names(), wanted, "{what}");
        assert!(leaf.other_names().is_empty(), "{what}");
        assert_eq!(leaf.spki(), public_key(csr), "{what}");
        assert!(!leaf.is_ca(), "{what}");
        let usage = leaf.key_usage().unwrap();
        assert!(!usage.cert_sign() && !usage.crl_sign(), "{what}");
        let purposes: Vec<String> = leaf
            .extended_key_usage()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(purposes, ["serverAuth"], "{what}");
        let file = self.env.write("leaf.pem", leaf.to_pem());
        let above = self.env.write("above.pem", to_pem(&signed.chain[1..]));
        let _ = self
            .env
            .command("openssl", ["verify", "-x509_strict", "-CAfile"])
            .arg(self.ca.authority().paths().root_export())
            .arg("-untrusted")
            .arg(above)
            .arg(file)
            .run()
            .success();
    }

    /// A request made by `openssl req` with the key in `key`.
    fn openssl(&self, key: &str, subject: &str, extensions: &str, more: &[&str]) -> Vec<u8> {
        let config = format!(
            "[req]\nprompt = no\nutf8 = yes\ndistinguished_name = dn\n{}\n\
             [dn]\n{subject}\n[ext]\n{extensions}\n[attributes]\nchallengePassword = hunter22\n\
             [dir]\nCN = Somebody\n",
            if extensions.is_empty() {
                ""
            } else {
                "req_extensions = ext"
            },
        );
        let config = if more.contains(&"-challenge") {
            config.replacen("[dn]", "attributes = attributes\n[dn]", 1)
        } else {
            config
        };
        self.env.write("req.cnf", config);
        let more = more.iter().filter(|word| **word != "-challenge");
        let out = self
            .env
            .command(
                "openssl",
                ["req", "-new", "-config", "req.cnf", "-key", key],
            )
            .current_dir(self.env.path(""));
        let run = more.fold(out, Run::arg);
        let _ = run.arg("-out").arg("out.pem").run().success();
        std::fs::read(self.env.path("out.pem")).unwrap()
    }

    /// A key made by openssl, as the name of its file.
    fn key(&self, name: &'static str, args: &[&str]) -> &'static str {
        let out = self.env.command("openssl", args).arg("-out").arg(name);
        let _ = out.current_dir(self.env.path("")).run().success();
        name
    }

    /// A request with these parts, signed by our key.
    fn by_hand(&self, hand: &ByHand) -> Vec<u8> {
        hand.sign(&self.key)
    }
}

/// The whole chain of an error's causes.
fn told(error: &CaError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn public_key(csr: &[u8]) -> Vec<u8> {
    let der = pem::parse(csr).map_or_else(|_| csr.to_vec(), pem::Pem::into_contents);
    let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
    request.certification_request_info.subject_pki.raw.to_vec()
}

/// The parts of a request, each free to be wrong.
#[derive(Clone)]
struct ByHand {
    version: u8,
    subject: Vec<u8>,
    spki: Option<Vec<u8>>,
    attributes: Vec<u8>,
    surplus: Vec<u8>,
}

impl ByHand {
    /// Nothing wrong: `www.home.arpa`, by its alternative name alone.
    fn right() -> Self {
        Self::with_names(&tlv(0x82, b"www.home.arpa"))
    }

    fn with_names(general_names: &[u8]) -> Self {
        Self::with_extensions(&san(general_names))
    }

    fn with_extensions(extensions: &[u8]) -> Self {
        Self {
            version: 0,
            subject: tlv(0x30, &[]),
            spki: None,
            attributes: extension_request(&tlv(0x30, extensions)),
            surplus: Vec::new(),
        }
    }

    fn subject(self, rdns: &[u8]) -> Self {
        Self {
            subject: tlv(0x30, rdns),
            ..self
        }
    }

    fn spki(self, spki: Vec<u8>) -> Self {
        Self {
            spki: Some(spki),
            ..self
        }
    }

    fn sign(&self, key: &PrivateKey) -> Vec<u8> {
        let spki = self.spki.clone().unwrap_or_else(|| key.public_key_der());
        let info = tlv(
            0x30,
            &[
                tlv(0x02, &[self.version]),
                self.subject.clone(),
                spki,
                tlv(0xa0, &self.attributes),
            ]
            .concat(),
        );
        let signature = key.sign(&info).unwrap();
        let bits = [&[0][..], &signature].concat();
        let parts = [
            info,
            tlv(0x30, &oid(&[1, 2, 840, 10045, 4, 3, 2])),
            tlv(0x03, &bits),
            self.surplus.clone(),
        ];
        tlv(0x30, &parts.concat())
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(u8::try_from(short).unwrap()),
        long => {
            let octets = long.to_be_bytes();
            let digits: Vec<u8> = octets.into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | u8::try_from(digits.len()).unwrap());
            out.extend(digits);
        }
    }
    out.extend(content);
    out
}

fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for arc in &arcs[2..] {
        let mut digits = vec![u8::try_from(arc & 0x7f).unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            digits.push(0x80 | u8::try_from(rest & 0x7f).unwrap());
            rest >>= 7;
        }
        content.extend(digits.iter().rev());
    }
    tlv(0x06, &content)
}

fn extension(arcs: &[u64], value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[oid(arcs), tlv(0x04, value)].concat())
}

fn san(general_names: &[u8]) -> Vec<u8> {
    extension(&[2, 5, 29, 17], &tlv(0x30, general_names))
}

fn extension_request(values: &[u8]) -> Vec<u8> {
    let attribute = [oid(&[1, 2, 840, 113549, 1, 9, 14]), tlv(0x31, values)];
    tlv(0x30, &attribute.concat())
}

/// One attribute of a name; `tag` is its string type.
fn attribute(arcs: &[u64], tag: u8, text: &[u8]) -> Vec<u8> {
    tlv(0x30, &[oid(arcs), tlv(tag, text)].concat())
}

fn common_name(text: &str) -> Vec<u8> {
    attribute(&[2, 5, 4, 3], 0x0c, text.as_bytes())
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tlv(0x30, &[tlv(0x02, modulus), tlv(0x02, exponent)].concat());
    let algorithm = [oid(&[1, 2, 840, 113549, 1, 1, 1]), tlv(0x05, &[])].concat();
    let bits = tlv(0x03, &[&[0][..], &key].concat());
    tlv(0x30, &[tlv(0x30, &algorithm), bits].concat())
}

/// A modulus of 2048 bits that ends in `last`.
fn modulus(last: u8) -> Vec<u8> {
    let mut octets = vec![0x00, 0xc5];
    octets.extend([0x5a; 254]);
    octets.push(last);
    octets
}

fn ec_spki(curve: &[u64], point: &[u8]) -> Vec<u8> {
    let algorithm = [oid(&[1, 2, 840, 10045, 2, 1]), oid(curve)].concat();
    let bits = tlv(0x03, &[&[0][..], point].concat());
    tlv(0x30, &[tlv(0x30, &algorithm), bits].concat())
}

const P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
const P384: &[u64] = &[1, 3, 132, 0, 34];

#[test]
fn requests_made_by_openssl_are_signed_or_refused_as_the_table_says() {
    if tool("openssl").is_none() {
        return;
    }
    let bench = Bench::new();
    let www = "CN = www.home.arpa";
    let san = "subjectAltName = DNS:www.home.arpa";
    let many = |n: usize| {
        let names: Vec<String> = (0..n).map(|n| format!("DNS:h{n}.home.arpa")).collect();
        format!("subjectAltName = {}", names.join(","))
    };
    let names = |names: &str| format!("subjectAltName = {names}");
    let with = |line: &str| format!("{san}\n{line}");
    let table: Vec<(&str, &str, String, Vec<&str>, Outcome)> = vec![
        ("plain", www, with(""), vec![], Issued(WWW)),
        (
            "no subject",
            "O = x",
            with(""),
            vec!["-subj", "/"],
            Issued(WWW),
        ),
        (
            "wrong curve hash",
            www,
            with(""),
            vec!["-sha384"],
            Issued(WWW),
        ),
        (
            "CA",
            www,
            with("basicConstraints = CA:TRUE"),
            vec![],
            Refused("to be a CA"),
        ),
        (
            "critical CA with a path length",
            www,
            with("basicConstraints = critical,CA:TRUE,pathlen:3"),
            vec![],
            Refused("to be a CA"),
        ),
        (
            "not a CA",
            www,
            with("basicConstraints = critical,CA:FALSE"),
            vec![],
            Issued(WWW),
        ),
        (
            "keyCertSign",
            www,
            with("keyUsage = keyCertSign"),
            vec![],
            Refused("to sign"),
        ),
        (
            "cRLSign among others",
            www,
            with("keyUsage = critical,digitalSignature,cRLSign"),
            vec![],
            Refused("to sign"),
        ),
        (
            "other usages",
            www,
            with("keyUsage = keyEncipherment\nextendedKeyUsage = codeSigning,anyExtendedKeyUsage"),
            vec![],
            Issued(WWW),
        ),
        (
            "name constraints",
            www,
            with("nameConstraints = permitted;DNS:evil.test"),
            vec![],
            Refused("name constraints"),
        ),
        (
            "unknown and critical",
            www,
            with("1.2.3.4 = critical,ASN1:NULL"),
            vec![],
            Refused("critical extension 1.2.3.4"),
        ),
        (
            "unknown",
            www,
            with("1.2.3.4 = ASN1:NULL"),
            vec![],
            Issued(WWW),
        ),
        (
            "must-staple",
            www,
            with("tlsfeature = status_request"),
            vec![],
            Issued(WWW),
        ),
        (
            "critical policies",
            www,
            with("certificatePolicies = critical,1.2.3.4"),
            vec![],
            Refused("certificatePolicies"),
        ),
        (
            "challenge password",
            www,
            with(""),
            vec!["-challenge"],
            Issued(WWW),
        ),
        (
            "UPN",
            www,
            names("DNS:www.home.arpa,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@home.arpa"),
            vec![],
            Refused("otherName"),
        ),
        (
            "directory name",
            www,
            names("DNS:www.home.arpa,dirName:dir"),
            vec![],
            Refused("directoryName"),
        ),
        (
            "registered id",
            www,
            names("DNS:www.home.arpa,RID:1.2.3.4"),
            vec![],
            Refused("registeredID"),
        ),
        (
            "only a CN",
            www,
            String::new(),
            vec![],
            Refused("only name is the common name"),
        ),
        (
            "a CN of its own",
            "CN = evil.home.arpa",
            with(""),
            vec![],
            Refused("not among its alternative names"),
        ),
        (
            "a CN that is no name",
            "CN = Printer 7",
            with(""),
            vec![],
            Refused("not among its alternative names"),
        ),
        (
            "two CNs",
            "0.CN = www.home.arpa\n1.CN = evil.home.arpa",
            with(""),
            vec![],
            Refused("two common names"),
        ),
        (
            "the same CN twice",
            "0.CN = www.home.arpa\n1.CN = www.home.arpa",
            with(""),
            vec![],
            Refused("two common names"),
        ),
        (
            "e-mail in the subject",
            "CN = www.home.arpa\nemailAddress = ada@home.arpa",
            with(""),
            vec![],
            Refused("e-mail address"),
        ),
        (
            "a subject full of claims",
            "C = CH\nO = A Bank\nOU = Root CA\nCN = www.home.arpa\nserialNumber = 1",
            with(""),
            vec![],
            Issued(WWW),
        ),
        (
            "no names at all",
            "O = x",
            String::new(),
            vec!["-subj", "/"],
            Refused("no name"),
        ),
        (
            "outside",
            "CN = www.evil.test",
            names("DNS:www.evil.test"),
            vec![],
            Refused("outside"),
        ),
        (
            "one outside among others",
            www,
            names("DNS:www.home.arpa,IP:11.0.0.1"),
            vec![],
            Refused("outside"),
        ),
        (
            "101 names",
            "CN = h0.home.arpa",
            many(101),
            vec![],
            Refused("101 names"),
        ),
        (
            "upper case",
            "CN = WWW.home.arpa",
            names("DNS:WWW.HOME.ARPA"),
            vec![],
            Issued(WWW),
        ),
        (
            "a name twice",
            www,
            names("DNS:www.home.arpa,DNS:WWW.home.arpa"),
            vec![],
            Issued(WWW),
        ),
        (
            "wildcard and address",
            "CN = *.home.arpa",
            names("DNS:*.home.arpa,IP:10.0.0.1,URI:spiffe://home.arpa/a,email:ada@home.arpa"),
            vec![],
            Issued(&[
                "*.home.arpa",
                "10.0.0.1",
                "spiffe://home.arpa/a",
                "ada@home.arpa",
            ]),
        ),
        (
            "two wildcards",
            "O = x",
            names("DNS:*.*.home.arpa"),
            vec![],
            Refused("a wildcard is"),
        ),
        (
            "a path",
            "O = x",
            names("DNS:../../home.arpa"),
            vec![],
            Refused("not a path"),
        ),
        (
            "an address as a host name",
            "O = x",
            names("DNS:10.0.0.1"),
            vec![],
            Refused("not of the kind"),
        ),
        (
            "a URI as a host name",
            "O = x",
            names("DNS:spiffe\\://home.arpa/a"),
            vec![],
            Refused("not of the kind"),
        ),
        (
            "a mapped address",
            "O = x",
            names("IP:::ffff:10.0.0.1"),
            vec![],
            Refused("IPv4-mapped"),
        ),
        (
            "a user for a server",
            "O = x",
            names("email:ada@home.arpa"),
            vec![],
            Refused("no server is called"),
        ),
        (
            "SHA-1",
            www,
            with(""),
            vec!["-sha1"],
            Refused("not trusted"),
        ),
    ];
    for (what, subject, extensions, more, outcome) in &table {
        let csr = bench.openssl("p256.pem", subject, extensions, more);
        let notes = bench.judge(what, &csr, outcome);
        let noted = |word: &str| notes.iter().any(|note| note.contains(word));
        match *what {
            "plain" => assert!(notes.is_empty(), "{notes:?}"),
            "other usages" => assert!(noted("keyUsage") && noted("extKeyUsage"), "{notes:?}"),
            "unknown" => assert!(noted("1.2.3.4"), "{notes:?}"),
            "challenge password" => assert!(noted("password"), "{notes:?}"),
            "a subject full of claims" => assert!(noted("subject"), "{notes:?}"),
            _ => {}
        }
    }
}

#[test]
fn the_public_key_is_the_requests_own_or_refused_as_weak() {
    if tool("openssl").is_none() {
        return;
    }
    let bench = Bench::new();
    let ec = |curve: &str| format!("ec_paramgen_curve:{curve}");
    let (p384, p521, k1, p224) = (ec("P-384"), ec("P-521"), ec("secp256k1"), ec("P-224"));
    let ec = ["genpkey", "-algorithm", "EC", "-pkeyopt"];
    let rsa = ["genpkey", "-algorithm", "RSA", "-pkeyopt"];
    let pss = [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
    ];
    let e3 = ["-pkeyopt", "rsa_keygen_pubexp:3"];
    let explicit = ["-pkeyopt", "ec_param_enc:explicit"];
    let bits = "rsa_keygen_bits:2048";
    let key = |name, head: &[&str], tail: &[&str]| bench.key(name, &[head, tail].concat());
    let p384 = key("p384.pem", &ec, &[&p384]);
    let p521 = key("p521.pem", &ec, &[&p521]);
    let k1 = key("k1.pem", &ec, &[&k1]);
    let p224 = key("p224.pem", &ec, &[&p224]);
    let explicit = key(
        "explicit.pem",
        &ec,
        &[&["ec_paramgen_curve:P-256"], &explicit[..]].concat(),
    );
    let ed25519 = key("ed25519.pem", &["genpkey", "-algorithm", "ED25519"], &[]);
    let ed448 = key("ed448.pem", &["genpkey", "-algorithm", "ED448"], &[]);
    let rsa2048 = key("rsa2048.pem", &rsa, &[bits]);
    let rsa1024 = key("rsa1024.pem", &rsa, &["rsa_keygen_bits:1024"]);
    let rsa_e3 = key("rsa_e3.pem", &rsa, &[&[bits], &e3[..]].concat());
    let rsa_pss = key(
        "rsa_pss.pem",
        &["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt"],
        &[bits],
    );
    let compress = ["ec", "-in", "p256.pem", "-conv_form", "compressed"];
    let compressed = key("compressed.pem", &compress, &[]);
    let table: Vec<(&str, &str, Vec<&str>, Outcome)> = vec![
        ("P-384 with SHA-256", p384, vec!["-sha256"], Issued(WWW)),
        ("P-384 with SHA-384", p384, vec!["-sha384"], Issued(WWW)),
        ("P-521 with SHA-512", p521, vec!["-sha512"], Issued(WWW)),
        ("P-521 with SHA-256", p521, vec!["-sha256"], Issued(WWW)),
        ("Ed25519", ed25519, vec![], Issued(WWW)),
        ("RSA 2048", rsa2048, vec!["-sha256"], Issued(WWW)),
        ("RSA with SHA-512", rsa2048, vec!["-sha512"], Issued(WWW)),
        ("RSA signed with PSS", rsa2048, pss.to_vec(), Issued(WWW)),
        (
            "RSA with SHA-1",
            rsa2048,
            vec!["-sha1"],
            Refused("not trusted"),
        ),
        (
            "RSA with MD5",
            rsa2048,
            vec!["-md5"],
            Refused("not trusted"),
        ),
        ("RSA 1024", rsa1024, vec![], Refused("1024 bits")),
        ("RSA with exponent 3", rsa_e3, vec![], Refused("exponent")),
        (
            "a key for PSS alone",
            rsa_pss,
            vec![],
            Refused("unknown kind"),
        ),
        ("secp256k1", k1, vec![], Refused("unknown kind")),
        ("P-224", p224, vec![], Refused("unknown kind")),
        (
            "a curve spelled out",
            explicit,
            vec![],
            Refused("unknown kind"),
        ),
        ("Ed448", ed448, vec![], Refused("unknown kind")),
        (
            "a compressed point",
            compressed,
            vec![],
            Refused("uncompressed"),
        ),
    ];
    for (what, key, more, outcome) in &table {
        let (subject, san) = ("CN = www.home.arpa", "subjectAltName = DNS:www.home.arpa");
        let csr = bench.openssl(key, subject, san, more);
        bench.judge(what, &csr, outcome);
    }
}

#[test]
fn requests_that_no_tool_would_make_are_refused() {
    if tool("openssl").is_none() {
        return;
    }
    let bench = Bench::new();
    let right = bench.by_hand(&ByHand::right());
    bench.judge("right", &right, &Issued(WWW));

    let mut flipped = right.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let other = PrivateKey::generate(KeyType::P256).unwrap();
    let stolen = ByHand::right()
        .spki(bench.key.public_key_der())
        .sign(&other);
    let truncated = right[..right.len() - 1].to_vec();
    let trailing = [&right[..], &[0]].concat();
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend(
        &right[if right[1] & 0x80 == 0 {
            2
        } else {
            2 + usize::from(right[1] & 0x7f)
        }..],
    );
    indefinite.extend([0, 0]);
    let point = bench.key.public_key_der()[26..].to_vec();
    let mut off_curve = point.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let www = tlv(0x82, b"www.home.arpa");
    let many: Vec<u8> = (0..51)
        .flat_map(|n| extension(&[1, 2, 3, n], &[5, 0]))
        .collect();
    let two_names = [common_name("www.home.arpa"), common_name("evil.home.arpa")].concat();
    let bmp: Vec<u8> = "www.home.arpa".bytes().flat_map(|b| [0, b]).collect();
    let names = |name: &[u8]| bench.by_hand(&ByHand::with_names(&[&www, name].concat()));
    let hand = |hand: ByHand| bench.by_hand(&hand);
    let unused_bits = {
        let mut spki = bench.key.public_key_der();
        let at = spki.len() - point.len() - 1;
        spki[at] = 1;
        spki
    };
    let twice = [ByHand::right().attributes, ByHand::right().attributes].concat();
    let table: Vec<(&str, Vec<u8>, Outcome)> = vec![
        ("a wrong signature", flipped, Refused("")),
        ("another's key", stolen, Refused("its signature is wrong")),
        (
            "truncated",
            truncated,
            Refused("not a certification request"),
        ),
        ("a byte after it", trailing, Refused("1 bytes follow")),
        (
            "indefinite length",
            indefinite,
            Refused("not a certification request"),
        ),
        ("empty", Vec::new(), Refused("not a certification request")),
        (
            "text",
            b"hello".to_vec(),
            Refused("not a certification request"),
        ),
        ("huge", vec![0x30; 65 * 1024], Refused("at most 65536")),
        (
            "version 2",
            hand(ByHand {
                version: 1,
                ..ByHand::right()
            }),
            Refused("its version is 1"),
        ),
        (
            "two extension requests",
            hand(ByHand {
                attributes: twice,
                ..ByHand::right()
            }),
            Refused("extensionRequest twice"),
        ),
        (
            "two lists of names",
            hand(ByHand::with_extensions(&[san(&www), san(&www)].concat())),
            Refused("subjectAltName twice"),
        ),
        (
            "51 extensions",
            hand(ByHand::with_extensions(&many)),
            Refused("51 extensions"),
        ),
        (
            "a NUL in a name",
            names(&tlv(0x82, b"www.home.arpa\0.evil.test")),
            Refused("control"),
        ),
        (
            "a line end in a name",
            names(&tlv(0x82, b"www.home.arpa\n")),
            Refused("control"),
        ),
        (
            "Unicode in a name",
            names(&tlv(0x82, "bücher.home.arpa".as_bytes())),
            Refused(""),
        ),
        (
            "an empty name",
            names(&tlv(0x82, b"")),
            Refused("it is empty"),
        ),
        (
            "a dot at the end",
            names(&tlv(0x82, b"www.home.arpa.")),
            Refused("ends in a dot"),
        ),
        (
            "a port",
            names(&tlv(0x82, b"www.home.arpa:443")),
            Refused("no port"),
        ),
        (
            "an address of 5 octets",
            names(&tlv(0x87, &[10, 0, 0, 1, 0])),
            Refused("5 octets"),
        ),
        (
            "an address and a mask",
            names(&tlv(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])),
            Refused("8 octets"),
        ),
        (
            "an X.400 address",
            names(&tlv(0xa3, &[])),
            Refused("x400Address"),
        ),
        (
            "an EDI party",
            names(&tlv(0xa5, &[])),
            Refused("ediPartyName"),
        ),
        (
            "a kind that does not exist",
            names(&tlv(0x89, b"x")),
            Refused(""),
        ),
        (
            "an e-mail address without a domain",
            names(&tlv(0x81, b"root@")),
            Refused("not a valid name"),
        ),
        (
            "two CNs in one set",
            hand(ByHand::right().subject(&tlv(0x31, &two_names))),
            Refused("two common names"),
        ),
        (
            "a CN in two-byte characters",
            hand(ByHand::right().subject(&tlv(0x31, &attribute(&[2, 5, 4, 3], 0x1e, &bmp)))),
            Refused("common name"),
        ),
        (
            "a CA by a boolean that is not DER",
            hand(ByHand::with_extensions(
                &[san(&www), extension(&[2, 5, 29, 19], &[0x30, 3, 1, 1, 1])].concat(),
            )),
            Refused(""),
        ),
        (
            "garbage as usage",
            hand(ByHand::with_extensions(
                &[san(&www), extension(&[2, 5, 29, 15], &[0xff])].concat(),
            )),
            Refused("not a certification request"),
        ),
        (
            "RSA with exponent 1",
            hand(ByHand::right().spki(rsa_spki(&modulus(1), &[1]))),
            Refused("exponent"),
        ),
        (
            "RSA with an even exponent",
            hand(ByHand::right().spki(rsa_spki(&modulus(1), &[1, 0, 2]))),
            Refused("exponent"),
        ),
        (
            "RSA with a huge exponent",
            hand(ByHand::right().spki(rsa_spki(&modulus(1), &[0x7f; 200]))),
            Refused("exponent"),
        ),
        (
            "RSA with an even modulus",
            hand(ByHand::right().spki(rsa_spki(&modulus(2), &[1, 0, 1]))),
            Refused("malformed"),
        ),
        (
            "RSA with a negative modulus",
            hand(ByHand::right().spki(rsa_spki(&modulus(1)[1..], &[1, 0, 1]))),
            Refused("malformed"),
        ),
        (
            "a P-256 point on P-384",
            hand(ByHand::right().spki(ec_spki(P384, &point))),
            Refused("malformed"),
        ),
        (
            "a point beside the curve",
            hand(ByHand::right().spki(ec_spki(P256, &off_curve))),
            Refused("its signature is wrong"),
        ),
        (
            "unused bits in the key",
            hand(ByHand::right().spki(unused_bits)),
            Refused(""),
        ),
        (
            "two lists of extensions in one attribute",
            hand(ByHand {
                attributes: extension_request(
                    &[tlv(0x30, &san(&www)), tlv(0x30, &san(&www))].concat(),
                ),
                ..ByHand::right()
            }),
            Refused("an element too many"),
        ),
        (
            "a second element",
            hand(ByHand {
                surplus: vec![5, 0],
                ..ByHand::right()
            }),
            Refused("an element too many"),
        ),
    ];
    for (what, csr, outcome) in &table {
        bench.judge(what, csr, outcome);
    }
}

#[test]
fn one_pem_block_that_is_a_request_and_nothing_else_is_read() {
    if tool("openssl").is_none() {
        return;
    }
    let bench = Bench::new();
    let der = bench.by_hand(&ByHand::right());
    let text = |tag: &str| encode_pem(tag, &der);
    let right = text("CERTIFICATE REQUEST");
    let root: Certificate = bench.ca.authority().roots()[0].certificate.clone();
    let secret = bench.key.to_pem().to_string();
    let table = [
        ("the old tag", text("NEW CERTIFICATE REQUEST"), Issued(WWW)),
        (
            "after words",
            format!("Certificate Request:\n  Data:\n{right}"),
            Issued(WWW),
        ),
        (
            "another tag",
            text("X509 CRL"),
            Refused("holds a `X509 CRL`"),
        ),
        (
            "a certificate",
            root.to_pem(),
            Refused("holds a `CERTIFICATE`"),
        ),
        ("twice", format!("{right}{right}"), Refused("2 PEM blocks")),
        (
            "with its key",
            format!("{secret}{right}"),
            Refused("2 PEM blocks"),
        ),
        ("broken", right.replacen("M", "!", 1), Refused("not")),
        (
            "without an end",
            right.replacen("-----END", "", 1),
            Refused("not"),
        ),
    ];
    for (what, csr, outcome) in &table {
        bench.judge(what, csr.as_bytes(), outcome);
    }
    let refused = bench.sign(root.der(), CsrNames::Requested).unwrap_err();
    assert!(told(&refused).contains("not a certification request"));
}

#[test]
fn where_acme_allows_it_a_common_name_is_a_name() {
    if tool("openssl").is_none() {
        return;
    }
    let bench = Bench::new();
    let other = "subjectAltName = DNS:a.home.arpa";
    let www = "subjectAltName = DNS:www.home.arpa";
    for (subject, extensions, outcome) in [
        ("CN = www.home.arpa", "", Issued(WWW)),
        ("CN = WWW.home.arpa", www, Issued(WWW)),
        (
            "CN = www.home.arpa",
            other,
            Issued(&["a.home.arpa", "www.home.arpa"]),
        ),
        ("CN = *.home.arpa", "", Issued(&["*.home.arpa"])),
        ("CN = www.evil.test", "", Refused("outside")),
        ("CN = www.evil.test", www, Refused("outside")),
        ("CN = Printer 7", "", Refused("only name")),
        ("CN = Printer 7", www, Refused("not among")),
        // Addresses stand among the alternative names alone (RFC 8738 §3).
        ("CN = 10.0.0.1", "", Refused("only name")),
        ("CN = b@home.arpa", www, Refused("not among")),
        (
            "0.CN = www.home.arpa\n1.CN = b.home.arpa",
            "",
            Refused("two common names"),
        ),
    ] {
        let what = format!("{subject} {extensions}");
        let csr = bench.openssl("p256.pem", subject, extensions, &[]);
        match (bench.sign(&csr, CsrNames::RequestedOrCommon), outcome) {
            (Ok(signed), Issued(names)) => bench.hold(&what, &csr, &signed, names),
            (Err(error), Refused(reason)) => {
                let told = told(&error);
                assert!(told.contains(reason), "{what}: {told}");
            }
            (result, _) => panic!("{what}: {result:?}"),
        }
    }
}

#[test]
fn names_given_by_the_operator_replace_those_in_the_request() {
    if tool("openssl").is_none() {
        return;
    }
    let bench = Bench::new();
    let extensions = "subjectAltName = DNS:evil.test,\
        otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@home.arpa";
    let csr = bench.openssl("p256.pem", "CN = Printer 7", extensions, &[]);
    let given = CsrNames::Given(vec![Identifier::parse("printer.home.arpa").unwrap()]);
    let signed = bench.sign(&csr, given).unwrap();
    bench.hold("given", &csr, &signed, &["printer.home.arpa"]);
    let notes = signed.notes.join("; ");
    assert!(
        notes.contains("names") && notes.contains("subject"),
        "{notes}"
    );

    let outside = CsrNames::Given(vec![Identifier::parse("evil.test").unwrap()]);
    let refused = bench.sign(&csr, outside).unwrap_err();
    assert!(told(&refused).contains("outside"), "{}", told(&refused));
    // Power is refused all the same.
    let csr = bench.openssl("p256.pem", "CN = x", "basicConstraints = CA:TRUE", &[]);
    let given = CsrNames::Given(vec![Identifier::parse("a.home.arpa").unwrap()]);
    let refused = bench.sign(&csr, given).unwrap_err();
    assert!(told(&refused).contains("to be a CA"), "{}", told(&refused));
}

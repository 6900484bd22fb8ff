//! A table of 100,000 certificates: filling it, looking names up, swapping one.
//!
//! Run with `cargo bench --bench certificates`. The certificates share one key, since
//! making keys is not what is measured.

#![expect(clippy::disallowed_macros, reason = "a benchmark prints")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use certmint::bundle::{CertBundle, Certificate};
use certmint::certificates::{Asked, CertificateTable, Certificates, SourceId};
use certmint::key::{KeyType, PrivateKey};

const MANY: u32 = 100_000;
const LOOKUPS: u32 = 2_000_000;
const SWAPS: u32 = 1_000;

fn main() {
    let key = PrivateKey::generate(KeyType::P256).expect("a key");
    let pem = key.to_pem();
    let bundle = |n: u32| {
        let key = PrivateKey::from_pem(pem.as_bytes(), None).expect("a copy");
        let params = rcgen::CertificateParams::new([name(n)]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let certificate = Certificate::from_der(certificate.der()).expect("ours");
        CertBundle::new(key, vec![certificate]).expect("they fit")
    };
    let bundles: Vec<CertBundle> = (0..MANY).map(bundle).collect();
    let table = CertificateTable::strict();
    let all = || (0..MANY).map(|n| SourceId::new(&name(n)));
    let filled = timed(|| {
        let changes = all().zip(bundles.chunks(1));
        table.replace_many(changes).expect("good certificates");
    });
    println!("{MANY} certificates put in: {:.2} s", filled.as_secs_f64());
    let names: Vec<String> = (0..MANY).map(name).collect();
    let looked = timed(|| {
        for n in 0..LOOKUPS {
            let position = n.wrapping_mul(2_654_435_761) % MANY;
            let asked = Asked {
                server_name: names.get(position as usize).map(String::as_str),
                local: IpAddr::V4(Ipv4Addr::LOCALHOST),
            };
            black_box(table.find(asked)).expect("it is there");
        }
    });
    println!("a lookup: {} ns", (looked / LOOKUPS).as_nanos());
    let swapped = timed(|| {
        for (source, bundle) in all().zip(bundles.chunks(1)).take(SWAPS as usize) {
            table.replace(source, bundle).expect("a good certificate");
        }
    });
    println!("swapping one: {} us", (swapped / SWAPS).as_micros());
}

fn name(n: u32) -> String {
    format!("host{n}.bench.test")
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

//! What a build without ACME says to `serve-acme`.

use crate::support::TestEnv;

#[test]
fn a_build_without_acme_says_so_before_it_does_anything() {
    let env = TestEnv::new();
    let args = ["serve-acme", "a.test", "--directory", "letsencrypt"];
    let ports = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"];
    let out = env.certmint(args).args(ports).run().code(1);
    for words in [
        "built without ACME",
        "hint: use a build with the feature `acme`",
    ] {
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    assert!(!env.state().exists());
}

#[test]
fn nor_does_it_begin_to_be_a_directory() {
    let env = TestEnv::new();
    let out = env.certmint(["ca", "serve", "--permit-any"]).run().code(1);
    let words = "error: this certmint was built without ACME";
    assert!(out.stderr().contains(words), "{}", out.stderr());
    assert!(!env.state().exists());
}

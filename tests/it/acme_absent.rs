//! What a build without ACME says when it is asked for it.

use crate::support::TestEnv;

#[test]
fn without_acme_the_flags_are_known_and_the_commands_name_the_feature() {
    let env = TestEnv::new();
    let directory = ["--directory", "letsencrypt"];
    for (args, code, why) in [
        (&["issue", "a.test", "--agree-tos"][..], 1, "without ACME"),
        (&["account", "show"], 1, "without ACME"),
        (&["revoke", "--cert", "x"], 1, "without ACME"),
        (&["issue", "a.test", "--challenge", "http-02"], 2, "http-01"),
    ] {
        let run = env.certmint(["acme"]).args(args).args(directory);
        let out = run.run().code(code);
        assert!(out.stderr().contains(why), "{args:?}: {}", out.stderr());
        assert!(!env.state().exists());
    }
    let out = env.certmint(["acme", "issue", "a.test"]).run().code(1);
    assert!(out.stderr().contains("use a build with the feature `acme`"));
}

//! Where a setting comes from: default, file, environment, flag, and the later wins.

use crate::process::{ebap, printed};

#[test]
fn the_later_of_file_environment_and_flag_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ebap.toml");
    let text = "pg_listen = \"127.0.0.1:1\"\nhttp_listen = \"127.0.0.1:2\"\nlog = \"warn\"\n";
    std::fs::write(&file, text).expect("a file");
    let output = ebap()
        .args(["server", "--print-config", "--pg-listen", "127.0.0.1:3", "--config"])
        .arg(&file)
        .env("EBAP_PG_LISTEN", "127.0.0.1:4")
        .env("EBAP_HTTP_LISTEN", "127.0.0.1:5")
        .output()
        .expect("the binary starts");
    let (done, shown) = printed(&output);
    assert!(done, "{shown}");
    for line in [
        "pg_listen = \"127.0.0.1:3\"  # flag",
        "http_listen = \"127.0.0.1:5\"  # environment",
        "log = \"warn\"  # file",
        "message_bytes_max = \"64MB\"  # default",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

#[test]
fn a_setting_that_is_wrong_is_named_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ebap.toml");
    std::fs::write(&file, "log = \"info\"\npg_listne = \"127.0.0.1:1\"\n").expect("a file");
    let (done, shown) = printed(&ebap().args(["server", "--config"]).arg(&file).output().expect("the binary starts"));
    assert!(!done && shown.contains("ebap.toml:2: unknown setting \"pg_listne\""), "{shown}");
    let wrong = ebap().arg("server").env("EBAP_MESSAGE_BYTES_MAX", "much").output();
    let (done, shown) = printed(&wrong.expect("the binary starts"));
    assert!(
        !done && shown.contains("message_bytes_max = \"much\" (environment EBAP_MESSAGE_BYTES_MAX) is not a size"),
        "{shown}"
    );
}

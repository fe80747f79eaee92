//! The sandbox, with the program itself within it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holobooth::provision::{Meaning, Question, Sandbox, Verdict};

fn question(file: &[u8]) -> Question {
    Question {
        meaning: Meaning::Config,
        image_path: "/etc/holobooth/holobooth.toml".into(),
        image: "[camera]\nfps = 25\n".into(),
        store: None,
        file: file.into(),
        signature: None,
    }
}

fn program() -> Sandbox {
    Sandbox::of(Path::new(env!("CARGO_BIN_EXE_holobooth")))
}

#[test]
fn it_understands_what_it_is_given() {
    let Verdict::Good { changes, network, .. } = program().ask(&question(b"[camera]\nfps = 30\n")).unwrap()
    else {
        panic!("refused")
    };
    assert_eq!(
        (changes.len(), changes[0].key.as_str(), changes[0].what.as_str(), network),
        (1, "camera.fps", "25 → 30", false)
    );
    let Verdict::Refused(why) = program().ask(&question(b"[camera]\nfsp = 30\n")).unwrap() else {
        panic!("taken")
    };
    assert!(why.starts_with("holobooth.toml:2:1: unknown field `fsp`"), "{why}");
}

#[test]
fn nothing_is_too_much_for_it() {
    let kib64 = 64 * 1024;
    let deep =
        |open: &str| [b"[camera]\ndevice = ".as_slice(), open.repeat(kib64 / open.len()).as_bytes()].concat();
    let many: String = (0..4000).map(|n| format!("[a{n}.b.c]\n")).collect();
    let long = format!("[booth]\nname = \"{}\"\n", "é".repeat(30_000));
    for file in [
        deep("["),
        deep("{a="),
        deep("{a.b.c.d=["),
        many.into_bytes(),
        long.into_bytes(),
        vec![0; kib64],
        vec![0xff; kib64],
    ] {
        let started = Instant::now();
        let verdict = program().ask(&question(&file)).unwrap();
        assert!(matches!(&verdict, Verdict::Refused(why) if why.contains("holobooth.toml:")), "{verdict:?}");
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

/// In `holobooth-stick@.service` it is started with capabilities and without root. Here a user namespace gives all
/// of them, to any user.
#[test]
fn it_drops_the_capabilities_of_its_parent() {
    let with_capabilities = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--keep-caps", program]);
        command
    };
    let inherited = with_capabilities("cat").arg("/proc/self/status").output().unwrap();
    let inherited = String::from_utf8_lossy(&inherited.stdout).into_owned();
    assert!(
        inherited.lines().any(|line| line.starts_with("CapAmb:") && !line.ends_with("0000000000000000")),
        "this test needs user namespaces: unshare --user --keep-caps cat /proc/self/status says {inherited:?}"
    );
    let mut child = with_capabilities(env!("CARGO_BIN_EXE_holobooth"))
        .arg("evaluate")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It waits for the question; by then they must be dropped.
    let path = format!("/proc/{}/status", child.id());
    let rights = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let ours = text.contains("Name:\tholobooth") && text.contains("Seccomp:\t2");
        let of = |line: &&str| line.starts_with("Cap") && !line.starts_with("CapBnd");
        ours.then(|| text.lines().filter(of).map(str::to_owned).collect::<Vec<_>>())
    };
    let until = Instant::now() + Duration::from_secs(10);
    let found = loop {
        match rights() {
            Some(found) => break found,
            None if Instant::now() > until => break Vec::new(),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found.len(), 4, "inheritable, permitted, effective, ambient");
    assert!(found.iter().all(|line| line.ends_with("\t0000000000000000")), "{found:?}");
}

#[test]
fn who_dies_hangs_or_babbles_refuses() {
    let script = |text: &str| {
        let path =
            std::env::temp_dir().join(format!("holobooth-sandbox-{}-{}", std::process::id(), text.len()));
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let answer = Sandbox::of(&path).ask(&question(b"")).map_err(|e| e.to_string());
        std::fs::remove_file(path).unwrap();
        answer.unwrap_err()
    };
    assert!(script("kill -SEGV $$").contains("failed (signal: 11"));
    assert!(script("exit 3").contains("failed (exit status: 3)"));
    assert!(script("echo rubbish").contains("nothing was changed"));
    let started = Instant::now();
    assert!(script("exec sleep 60").contains("longer than 2 s"));
    assert!(started.elapsed() < Duration::from_secs(4));
    assert!(Sandbox::of(Path::new("/nonexistent")).ask(&question(b"")).is_err());
}

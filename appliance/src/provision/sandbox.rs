//! The sandbox: a stick's bytes are parsed by a process that can do nothing but that. It is this same
//! program, started again: it lets go of all rights, takes a question from its standard input, answers on its
//! standard output, and ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use caps::CapSet;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::evaluate::{Question, Verdict, evaluate};
use crate::sys::wait_timeout;

/// The hidden subcommand of the process within.
pub const COMMAND: &str = "evaluate";
/// Who takes longer is ended.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest question, in bytes: three files of 64 KiB, as numbers in JSON.
const LONGEST_QUESTION: u64 = 4 * 1024 * 1024;
/// The longest answer.
const LONGEST_ANSWER: u64 = 1024 * 1024;
/// Nobody: the user and group of who owns nothing.
const NOBODY: u32 = 65534;

/// Why there is no verdict. Then the stick is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It could not be started or asked.
    #[error("sandbox: {what}: {source}; nothing was changed")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// It took too long.
    #[error(
        "sandbox: the file took longer than {} s to understand; nothing was changed; make it simpler",
        TIMEOUT.as_secs()
    )]
    Slow,
    /// It died.
    #[error("sandbox: understanding the file failed ({0}); nothing was changed; write the file again")]
    Died(String),
    /// Rights that it could not let go of.
    #[error("sandbox: {what}: {reason}; without it no stick is read: use a kernel with seccomp filters")]
    Confine {
        /// Which.
        what: &'static str,
        /// The system's answer.
        reason: String,
    },
}

fn system(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { what, source }
}

/// A program to be the process within.
#[derive(Debug, Clone)]
pub struct Sandbox {
    program: PathBuf,
}

impl Default for Sandbox {
    /// This program.
    fn default() -> Self {
        Self::of(Path::new("/proc/self/exe"))
    }
}

impl Sandbox {
    /// The program at `path`, which understands [`COMMAND`].
    pub fn of(path: &Path) -> Self {
        Self { program: path.to_owned() }
    }

    /// Has it evaluate.
    ///
    /// # Errors
    /// [`Error`]; then nothing is known of the file but that it is not to be taken.
    pub fn ask(&self, question: &Question) -> Result<Verdict, Error> {
        // Files in memory and no pipes: whatever it does or leaves undone, nobody waits for it.
        let mut asked = memory("question")?;
        let text = serde_json::to_vec(question).map_err(|e| system("a question")(e.into()))?;
        asked.write_all(&text).map_err(system("a question"))?;
        asked.rewind().map_err(system("a question"))?;
        let mut answer = memory("answer")?;
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(asked)
            .stdout(answer.try_clone().map_err(system("an answer"))?)
            .stderr(Stdio::null())
            .spawn()
            .map_err(system("cannot start it"))?;
        let status = wait_timeout(&mut child, TIMEOUT).map_err(system("cannot wait for it"))?;
        let Some(status) = status else { return Err(Error::Slow) };
        if !status.success() {
            return Err(Error::Died(status.to_string()));
        }
        answer.rewind().map_err(system("an answer"))?;
        serde_json::from_reader(answer.take(LONGEST_ANSWER)).map_err(|e| Error::Died(e.to_string()))
    }
}

fn memory(name: &str) -> Result<File, Error> {
    let made = memfd_create(name, MFdFlags::MFD_CLOEXEC);
    made.map(File::from).map_err(|e| system("no memory for a file")(e.into()))
}

/// The process within: lets go of all rights, evaluates, answers.
///
/// # Errors
/// [`Error`].
pub fn within() -> Result<(), Error> {
    confine()?;
    let question: Question = serde_json::from_reader(io::stdin().lock().take(LONGEST_QUESTION))
        .map_err(|e| system("the question")(e.into()))?;
    let answer = serde_json::to_vec(&evaluate(&question)).map_err(|e| system("the answer")(e.into()))?;
    let mut out = io::stdout().lock();
    out.write_all(&answer).and_then(|()| out.flush()).map_err(system("the answer"))
}

/// Limits of the process within: what a parser of 64 KiB never needs.
const LIMITS: [(Resource, u64); 7] = [
    // The codecs' libraries, which are linked into the program, take most of this.
    (Resource::RLIMIT_AS, 2 << 30),
    (Resource::RLIMIT_DATA, 256 << 20),
    (Resource::RLIMIT_CPU, 2),
    (Resource::RLIMIT_FSIZE, LONGEST_ANSWER),
    (Resource::RLIMIT_NOFILE, 3),
    (Resource::RLIMIT_NPROC, 0),
    (Resource::RLIMIT_CORE, 0),
];

fn confine() -> Result<(), Error> {
    let failed = |what: &'static str| move |e: nix::Error| Error::Confine { what, reason: e.to_string() };
    prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
    for (resource, limit) in LIMITS {
        setrlimit(resource, limit, limit).map_err(failed("a limit"))?;
    }
    if geteuid().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).map_err(failed("groups"))?;
        setresgid(group, group, group).map_err(failed("group"))?;
        setresuid(user, user, user).map_err(failed("user"))?;
    }
    // A unit may give rights without root (AmbientCapabilities=); the last of them go here.
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|e| Error::Confine { what: "capabilities", reason: e.to_string() })?;
    }
    // Should who asked be killed, nobody is left behind. Only now: another user is another parent's child
    // (prctl(2)).
    prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(failed("ending with its parent"))?;
    let filter = filter().map_err(|reason| Error::Confine { what: "a seccomp filter", reason })?;
    seccompiler::apply_filter(&filter)
        .map_err(|e| Error::Confine { what: "a seccomp filter", reason: e.to_string() })
}

/// System calls that a parser needs; any other ends it.
fn filter() -> Result<BpfProgram, String> {
    let text = |e: seccompiler::BackendError| e.to_string();
    let rule = |argument: u8, op: SeccompCmpOp, value: u64| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value).map_err(text)?;
        SeccompRule::new(vec![condition]).map_err(text)
    };
    // Of the memory that it asks for, none may hold instructions.
    let no_code = || rule(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::from([
        (libc::SYS_read, vec![rule(0, SeccompCmpOp::Eq, libc::STDIN_FILENO as u64)?]),
        (libc::SYS_write, vec![rule(0, SeccompCmpOp::Le, libc::STDERR_FILENO as u64)?]),
        (libc::SYS_mmap, vec![no_code()?]),
        (libc::SYS_mprotect, vec![no_code()?]),
    ]);
    for harmless in [
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_sched_yield,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ] {
        rules.insert(harmless, Vec::new());
    }
    let target = std::env::consts::ARCH.try_into().map_err(text)?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, target)
        .and_then(BpfProgram::try_from)
        .map_err(text)
}

//! What the link asks of the encoder, as one value through one mailbox.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The state that the encoder is to follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncoderCommand {
    /// Whether somebody receives what is coded.
    pub connected: bool,
    /// The bit rate that the slowest participant's path carries, in kbit/s; 0 while it is not known.
    pub target_kbps: u32,
    /// What was coded last has not left yet: another picture now would only wait.
    pub congested: bool,
    /// The next picture is to be a keyframe.
    pub keyframe: bool,
}

/// A mailbox of one in which newer commands replace older ones, but for a keyframe request: it stays until it
/// is taken.
#[derive(Debug, Default)]
pub struct CommandMailbox(Mutex<EncoderCommand>);

impl CommandMailbox {
    fn lock(&self) -> MutexGuard<'_, EncoderCommand> {
        // A plain value: whatever a thread that panicked left of it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what was asked before; an untaken keyframe request is kept.
    pub fn put(&self, command: EncoderCommand) {
        let mut newest = self.lock();
        *newest = EncoderCommand { keyframe: command.keyframe || newest.keyframe, ..command };
    }

    /// Asks for a keyframe and leaves the rest as it is.
    pub fn request_keyframe(&self) {
        self.lock().keyframe = true;
    }

    /// What is asked now. The keyframe request stays: see [`CommandMailbox::take_keyframe`].
    pub fn get(&self) -> EncoderCommand {
        *self.lock()
    }

    /// Whether a keyframe is asked for; the request counts as answered.
    pub fn take_keyframe(&self) -> bool {
        std::mem::take(&mut self.lock().keyframe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_counts_and_a_keyframe_request_stays_until_it_is_taken() {
        let mailbox = CommandMailbox::default();
        mailbox.put(EncoderCommand {
            connected: true,
            target_kbps: 900,
            keyframe: true,
            ..Default::default()
        });
        mailbox.put(EncoderCommand {
            connected: true,
            target_kbps: 800,
            congested: true,
            ..Default::default()
        });
        let command = mailbox.get();
        assert_eq!((command.target_kbps, command.congested, command.keyframe), (800, true, true));
        assert!(mailbox.take_keyframe() && !mailbox.take_keyframe() && !mailbox.get().keyframe);
        mailbox.request_keyframe();
        assert!(mailbox.get().connected && mailbox.take_keyframe());
    }
}

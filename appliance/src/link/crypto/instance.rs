//! Instances: one connection's broadcast each, with a key pair of its own (X25519, RFC 7748); see
//! [`super::sealing`].

use std::time::UNIX_EPOCH;

use ring::rand::{SecureRandom, SystemRandom};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::link::error::Ended;

/// One connection's broadcast; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    /// When it began, in ms since 1970 by the booth's own clock.
    pub(crate) epoch: u64,
    /// No two are alike.
    pub(crate) public: [u8; 32],
}

/// An instance of ours.
pub(crate) struct OwnInstance {
    instance: Instance,
    secret: StaticSecret,
}

impl OwnInstance {
    /// One that begins now.
    ///
    /// # Errors
    /// [`Ended::Random`].
    pub(crate) fn new() -> Result<Self, Ended> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| Ended::Random)?;
        let secret = StaticSecret::from(secret);
        let epoch = UNIX_EPOCH.elapsed().map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        Ok(Self { instance: Instance { epoch, public: PublicKey::from(&secret).to_bytes() }, secret })
    }

    /// As others see it.
    pub(crate) fn instance(&self) -> Instance {
        self.instance
    }

    /// What only this instance and `other` know.
    pub(crate) fn agree(&self, other: &Instance) -> [u8; 32] {
        self.secret.diffie_hellman(&PublicKey::from(other.public)).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_two_instances_agree_and_nobody_else() {
        let [a, b, c] = [(); 3].map(|()| OwnInstance::new().unwrap());
        assert_eq!(a.agree(&b.instance), b.agree(&a.instance));
        assert_ne!(a.agree(&b.instance), a.agree(&c.instance));
        assert!(a.instance.epoch > 1_700_000_000_000);
    }
}

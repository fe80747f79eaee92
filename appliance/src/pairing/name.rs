//! A name that people can say, for a booth that has none yet.

use super::Fingerprint;

const MANNERS: [&str; 32] = [
    "amber", "bold", "brave", "bright", "calm", "clear", "clever", "cosy", "early", "eager", "fair",
    "gentle", "glad", "golden", "grand", "happy", "keen", "kind", "lively", "lucky", "mellow", "merry",
    "noble", "patient", "proud", "quick", "quiet", "silver", "steady", "sunny", "warm", "wise",
];
const ANIMALS: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "deer", "dolphin", "eagle", "falcon", "finch", "fox", "gecko",
    "hare", "heron", "ibis", "jay", "koala", "lark", "lion", "lynx", "marten", "moose", "otter", "owl",
    "panda", "puffin", "raven", "robin", "seal", "stork", "swan", "tiger", "wren",
];

impl Fingerprint {
    /// Such as `quiet-heron-42`: one of about a hundred thousand, always the same for the same booth. For
    /// people's eyes; who a booth is, the whole fingerprint says.
    pub fn name(&self) -> String {
        let Self([manner, animal, high, low, ..]) = self;
        let pick = |list: [&'static str; 32], byte: &u8| list[usize::from(byte % 32)];
        let number = u16::from_be_bytes([*high, *low]) % 100;
        format!("{}-{}-{number}", pick(MANNERS, manner), pick(ANIMALS, animal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_booth_keeps_its_name_and_others_have_others() {
        let of = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B9).to_be_bytes());
            Fingerprint(bytes).name()
        };
        assert_eq!(of(5), of(5));
        let names: HashSet<String> = (0..1_000).map(of).collect();
        assert!(names.len() > 950, "{}", names.len());
        assert!(names.iter().all(|name| name.split('-').count() == 3 && name.is_ascii()));
    }

    #[test]
    fn every_word_is_another() {
        let words: HashSet<_> = MANNERS.iter().chain(&ANIMALS).collect();
        assert_eq!(words.len(), 64);
    }
}

//! How a keyring lies in its secret: whole, or as the seed that the template writes.

use std::borrow::Cow;

use placet_core::keys::Keyring;
use placet_core::{Fault, Timestamp};
use serde::Deserialize;

/// The shortest seed that is taken: 32 letters and digits are 190 bits.
const SEED_CHARS: usize = 32;

/// What the template writes: the first epoch is derived from it, the same by everybody, without a write.
#[derive(Deserialize)]
struct Seed<'t> {
    placet_seed_version: u32,
    // Borrowed where the JSON has no escapes in it, as that of the template's seed has none.
    #[serde(borrow)]
    seed: Cow<'t, str>,
}

/// Reads a version of the secret: a keyring, or the seed of the first one, made at `created_at` (Unix seconds).
pub(crate) fn read(text: &str, created_at: i64) -> Result<Keyring, Fault> {
    if let Ok(Seed { placet_seed_version: 1, seed }) = serde_json::from_str(text) {
        if seed.chars().count() < SEED_CHARS {
            return Err(Fault::bare("the secret's seed is too short to make keys from"));
        }
        return Ok(Keyring::from_seed(&seed, Timestamp::from_millis(created_at.saturating_mul(1000))));
    }
    // The cause is not told: a parser's message can quote what it read.
    serde_json::from_str(text)
        .map_err(|_| Fault::bare("the secret holds neither a keyring nor the seed of one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = r#"{"placet_seed_version": 1, "seed": "abcdefghijklmnopqrstuvwxyz0123456789"}"#;

    #[test]
    fn the_first_keyring_is_the_same_for_everybody_who_reads_the_seed() {
        let (one, two) = (read(SEED, 17).unwrap(), read(SEED, 17).unwrap());
        assert_eq!(one.current.number, 1);
        assert_eq!(one.current.created_at.seconds(), 17);
        assert_eq!(one.current.master.expose(), two.current.master.expose());
        assert_ne!(one.current.master.expose(), one.current.signing_seed.expose());
        let other = read(&SEED.replace("xyz", "zyx"), 17).unwrap();
        assert_ne!(one.current.master.expose(), other.current.master.expose());
    }

    #[test]
    fn a_seed_may_have_characters_that_json_escapes() {
        let text = r#"{"placet_seed_version": 1, "seed": "\"\\abcdefghijklmnopqrstuvwxyz0123456789"}"#;
        let plain =
            Keyring::from_seed(r#""\abcdefghijklmnopqrstuvwxyz0123456789"#, Timestamp::from_millis(17_000));
        assert_eq!(read(text, 17).unwrap().current.master.expose(), plain.current.master.expose());
    }

    #[test]
    fn a_keyring_comes_back_as_it_was_written() {
        let ring = read(SEED, 17).unwrap();
        let back = read(&serde_json::to_string(&ring).unwrap(), 99).unwrap();
        assert_eq!(back.current.master.expose(), ring.current.master.expose());
        assert_eq!(back.current.created_at, ring.current.created_at);
    }

    #[test]
    fn what_is_no_keyring_is_refused_and_not_quoted() {
        for text in ["", "{}", "hunter2", r#"{"placet_seed_version": 1, "seed": "short"}"#] {
            let fault = read(text, 0).unwrap_err();
            assert!(!fault.chain().contains("hunter2") && !fault.chain().contains("short\""));
        }
    }
}

//! The transparency log over the audit trail, in the forms of C2SP, and its verification without a gate.
//!
//! A leaf is an audit entry in canonical JSON without its own hash. The log is a Merkle tree (RFC 6962, RFC 9162) in
//! tiles (`tlog-tiles`); its head is a signed note (`tlog-checkpoint`, `signed-note`); one entry is proven by a
//! `tlog-proof`; a witness cosigns (`tlog-cosignature`). Nothing here does I/O, reads a clock or draws randomness:
//! stores keep the tiles, the gate signs heads as they are read, and commands read and write files.
//!
//! Sources: <https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>,
//! <https://c2sp.org/tlog-cosignature>, <https://c2sp.org/tlog-proof>.

pub mod csv;
mod edge;
mod entry;
mod keys;
mod merkle;
pub mod note;
mod proof;
mod receipt;
mod tile;
pub mod verify;

pub use edge::{Edge, FullTile};
pub use entry::{LEAF_LIMIT_BYTES, StoredEntry, leaf_bytes};
pub use keys::LogKey;
pub use merkle::{
    EMPTY_ROOT, HASH_BYTES, Hash, Tiles, Wanted, check_consistency, check_inclusion, consistency, inclusion,
    leaf_hash, node_hash, root,
};
pub use note::Checkpoint;
pub use proof::{InclusionProof, MalformedProof};
pub use receipt::{Receipt, ReceiptProblem, Trust, VerifiedReceipt};
pub use tile::{HEIGHT, TileName, WIDTH, width_at};

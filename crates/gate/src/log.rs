//! The audit trail and its transparency log, as they are read: pages, heads, tiles and receipts.
//!
//! The head is signed as it is read and never stored, as a token is: nothing that was signed has ever lost a race.

use std::time::Duration;

use placet_audit::note::VerifierKey;
use placet_audit::{
    InclusionProof, LogKey, Receipt, TileName, Tiles, WIDTH, consistency, inclusion, width_at,
};
use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_core::policy::{ClientRole, Policy};
use placet_core::request::Request;
use placet_core::{Refusal, Timestamp};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::authenticate::Caller;
use crate::ports::{LogHead, Sealed, TrailQuery};
use crate::{Error, Fault, Gate};

/// How many entries are looked through for one page, where few of them are wanted.
const LOOKED_THROUGH: usize = 20_000;

/// How many entries are read at once.
const READ_AT_ONCE: usize = 1000;

/// How long a receipt waits for its entry to be sealed. On one machine that takes a second.
const SEAL_PATIENCE: Duration = Duration::from_secs(3);

/// How often it looks.
const SEAL_LOOK: Duration = Duration::from_millis(100);

/// When whoever got no receipt should ask again, in seconds.
const SEALED_WITHIN_SECONDS: u32 = 15;

/// Which entries of the trail somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those recorded then or later.
    pub since: Option<Timestamp>,
    /// Only those recorded before then.
    pub until: Option<Timestamp>,
    /// Only those about this client's requests.
    pub client: Option<String>,
    /// Only those about requests under this rule.
    pub rule: Option<String>,
    /// Only those of this reviewer: their votes, and the approvals that they are named in.
    pub reviewer: Option<String>,
    /// The place in the trail to begin at, from 0.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
}

/// A page of the trail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrailEntries {
    /// The entries' fields as they were stored.
    pub entries: Vec<Map<String, Value>>,
    /// The place from which to go on; none at the end. A page may be short though more follows.
    pub next: Option<u64>,
}

impl Selection {
    /// Whether an entry is meant, but for its time.
    pub fn takes(&self, entry: &Map<String, Value>) -> bool {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let is =
            |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| text(name) == wanted);
        let of_reviewer = self.reviewer.as_ref().is_none_or(|reviewer| {
            text("actor") == reviewer || text("approved_by").split(',').any(|name| name.trim() == reviewer)
        });
        is(&self.client, "client") && is(&self.rule, "rule") && of_reviewer
    }
}

impl Gate {
    /// A page of the trail, for an auditor.
    pub async fn audit(&self, caller: &Caller, selection: &Selection) -> Result<TrailEntries, Error> {
        caller.must_be(ClientRole::Auditor)?;
        Ok(self.trail(selection).await?)
    }

    /// A page of the trail: the operator's view.
    pub async fn trail(&self, selection: &Selection) -> Result<TrailEntries, Fault> {
        let mut page = TrailEntries::default();
        let (mut from, mut looked) = (selection.from, 0);
        loop {
            let wanted = selection.limit.saturating_sub(page.entries.len()).max(1);
            let is_all =
                selection.client.is_none() && selection.rule.is_none() && selection.reviewer.is_none();
            let limit = if is_all { wanted.min(READ_AT_ONCE) } else { READ_AT_ONCE };
            let query = TrailQuery { from, limit, since: selection.since, until: selection.until };
            let found = self.store.trail(&query).await?;
            for placed in &found.entries {
                looked += 1;
                let fields = placed.entry.fields();
                if selection.takes(&fields) {
                    page.entries.push(fields);
                }
                if page.entries.len() >= selection.limit {
                    let is_last = found.entries.last().is_some_and(|last| last.index == placed.index);
                    page.next = if is_last { found.next } else { Some(placed.index.saturating_add(1)) };
                    return Ok(page);
                }
            }
            page.next = found.next;
            match found.next {
                Some(next) if looked < LOOKED_THROUGH && next > from => from = next,
                Some(_) | None => return Ok(page),
            }
        }
    }

    /// Seals what is not in the log yet, one batch.
    pub async fn seal(&self) -> Result<Sealed, Fault> {
        self.store.seal().await
    }

    /// The signed head of the log.
    pub async fn checkpoint(&self) -> Result<String, Fault> {
        let head = self.store.log_head().await?;
        self.sign_head(&head).await
    }

    /// The log's public key.
    pub async fn log_key(&self) -> Result<VerifierKey, Fault> {
        Ok(LogKey::of(&*self.keys.keyring().await?).verifier())
    }

    /// Signs a head.
    pub async fn sign_head(&self, head: &LogHead) -> Result<String, Fault> {
        Ok(LogKey::of(&*self.keys.keyring().await?).checkpoint(head.leaves, head.root))
    }

    /// From where on the trail is whole, as a signed note, for an auditor.
    pub async fn horizon(&self, caller: &Caller) -> Result<String, Error> {
        caller.must_be(ClientRole::Auditor)?;
        let head = self.store.log_head().await?;
        Ok(self.sign_horizon(&head).await?)
    }

    /// Signs from where on the trail is whole.
    pub async fn sign_horizon(&self, head: &LogHead) -> Result<String, Fault> {
        Ok(LogKey::of(&*self.keys.keyring().await?).horizon(head.min_index))
    }

    /// Signs the file of the keys of tokens that belongs to an export of that head.
    pub async fn sign_token_keys(&self, head: &LogHead, jwks: &[u8]) -> Result<String, Fault> {
        Ok(LogKey::of(&*self.keys.keyring().await?).token_keys(head.leaves, jwks))
    }

    /// A tile, or a bundle of entries, for an auditor. Refuses with `not_found` what the log does not have.
    pub async fn log_tile(&self, caller: &Caller, name: TileName) -> Result<Vec<u8>, Error> {
        caller.must_be(ClientRole::Auditor)?;
        let head = self.store.log_head().await?;
        Ok(self.tile(&head, name).await?.ok_or(Refusal::NotFound)?)
    }

    /// A tile, or a bundle of entries, of the log with that head; none if it has none of that name.
    pub async fn tile(&self, head: &LogHead, name: TileName) -> Result<Option<Vec<u8>>, Fault> {
        if width_at(head.leaves, name.level.unwrap_or(0), name.number) < name.width {
            return Ok(None);
        }
        match name.level {
            Some(level) => {
                let tile = self.store.log_tile(level, name.number).await?;
                let mut tile = tile.ok_or(Fault::bare("a tile of the log is missing"))?;
                // A tile that is not full is a prefix of what it grows into.
                tile.truncate(usize::from(name.width) * placet_audit::HASH_BYTES);
                Ok(Some(tile))
            }
            None => self.bundle(head, name).await,
        }
    }

    async fn bundle(&self, head: &LogHead, name: TileName) -> Result<Option<Vec<u8>>, Fault> {
        let first = name.number.saturating_mul(WIDTH);
        if first < head.min_index {
            return Ok(None);
        }
        let (mut bytes, mut from, end) = (Vec::new(), first, first.saturating_add(u64::from(name.width)));
        while from < end {
            let limit = usize::try_from(end - from).unwrap_or(usize::MAX);
            let page = self.store.trail(&TrailQuery { from, limit, since: None, until: None }).await?;
            if page.entries.is_empty() {
                return Err(Fault::bare("an entry of the log is missing"));
            }
            for placed in page.entries {
                let leaf = placed.entry.leaf().ok_or(Fault::bare("an entry of the log cannot be read"))?;
                let length = u16::try_from(leaf.len())
                    .map_err(|error| Fault::new("an entry is too long for the log", error))?;
                if placed.index != from {
                    return Err(Fault::bare("an entry of the log is missing"));
                }
                bytes.extend(length.to_be_bytes());
                bytes.extend(leaf);
                from = from.saturating_add(1);
            }
        }
        Ok(Some(bytes))
    }

    /// The proof that the entry at `index` is in the log with that head. `index` is below its size.
    pub async fn prove_inclusion(&self, head: &LogHead, index: u64) -> Result<InclusionProof, Fault> {
        let path = self.over_tiles(|tiles| inclusion(head.leaves, index, tiles)).await?;
        Ok(InclusionProof { index, path, checkpoint: self.sign_head(head).await? })
    }

    /// The proof that the log with that head begins with its first `old_size` entries, which are no more than it has.
    pub async fn prove_consistency(
        &self,
        head: &LogHead,
        old_size: u64,
    ) -> Result<Vec<placet_audit::Hash>, Fault> {
        self.over_tiles(|tiles| consistency(old_size, head.leaves, tiles)).await
    }

    /// Computes over tiles, and reads each that turns out to be needed.
    async fn over_tiles<T>(
        &self,
        compute: impl Fn(&Tiles) -> Result<T, placet_audit::Wanted>,
    ) -> Result<T, Fault> {
        let mut tiles = Tiles::default();
        loop {
            let wanted = match compute(&tiles) {
                Ok(computed) => return Ok(computed),
                Err(wanted) => wanted,
            };
            let tile = self.store.log_tile(wanted.level, wanted.number).await?;
            match tile {
                Some(tile) if tiles.get(wanted.level, wanted.number) != Some(&tile) => {
                    tiles.insert(wanted.level, wanted.number, tile);
                }
                Some(_) | None => return Err(Fault::bare("a tile of the log is missing, or too short")),
            }
        }
    }

    /// The receipt of a request that has ended: for the client that asked, with its token, and for an auditor, without.
    ///
    /// `client` says whose `request_id` an auditor means. Refuses with `not_found`, or with `unavailable` where the end is
    /// not sealed yet.
    pub async fn receipt(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
    ) -> Result<Receipt, Error> {
        if !caller.client.has(ClientRole::Auditor) {
            caller.must_be(ClientRole::Requester)?;
        }
        let key = self.key_of(caller, request_id, client).await?;
        let request = self.settled(key).await?;
        let token = self.token(&request, caller).await?;
        self.receipt_of(&request, token, SEAL_PATIENCE).await
    }

    /// The receipt of a request, for the operator: with its token.
    pub async fn receipt_for_operator(&self, request: &Request, policy: &Policy) -> Result<Receipt, Error> {
        let token = self.token_for_asker(request, policy).await?;
        self.receipt_of(request, token, SEAL_PATIENCE).await
    }

    async fn receipt_of(
        &self,
        request: &Request,
        token: Option<String>,
        patience: Duration,
    ) -> Result<Receipt, Error> {
        if request.outcome().is_none() {
            return Err(Refusal::NoReceipt.into());
        }
        let subject = request.asked().approval_id.as_str();
        let mut entries = self.store.trail_of(subject).await?;
        let is_end = |entry: &Map<String, Value>| {
            let event = entry.get("event").and_then(Value::as_str).unwrap_or_default();
            matches!(event, "request.approved" | "request.rejected" | "request.expired" | "request.cancelled")
        };
        let end = entries.iter().position(|entry| is_end(&entry.fields())).ok_or(Refusal::NoReceipt)?;
        entries.truncate(end.saturating_add(1));
        let seq = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let until = Instant::now() + patience;
        let (head, index) = loop {
            let index = self.store.log_index(subject, seq).await?;
            let head = self.store.log_head().await?;
            match index.filter(|index| *index < head.leaves) {
                Some(index) => break (head, index),
                None if Instant::now() < until => tokio::time::sleep(SEAL_LOOK).await,
                None => {
                    return Err(Refusal::NotSealed { retry_after_seconds: SEALED_WITHIN_SECONDS }.into());
                }
            }
        };
        let proof = self.prove_inclusion(&head, index).await?;
        let receipt = Receipt::new(&entries, &proof, &self.log_key().await?, token);
        Ok(receipt.ok_or(Fault::bare("an entry of the trail cannot be read"))?)
    }

    /// The request that a caller means: its own, or, for an auditor, the only one of that name.
    async fn key_of(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
    ) -> Result<RequestKey, Error> {
        let is_auditor = caller.client.has(ClientRole::Auditor);
        let askers: Vec<ClientId> = match client {
            Some(client) if is_auditor || *client == caller.client.id => vec![client.clone()],
            Some(_) => return Err(Refusal::NotFound.into()),
            None if is_auditor => {
                let asks = |client: &&placet_core::policy::Client| client.has(ClientRole::Requester);
                caller.policy.clients.iter().filter(asks).map(|client| client.id.clone()).collect()
            }
            None => vec![caller.client.id.clone()],
        };
        let mut found = Vec::new();
        for asker in askers {
            let key = RequestKey::of(&asker, request_id);
            found.extend(self.store.load(key).await?.map(|_| key));
        }
        match found.as_slice() {
            [] => Err(Refusal::NotFound.into()),
            [only] => Ok(*only),
            _ => Err(Refusal::field(
                "client",
                "must say whose request is meant: several clients use this name",
            )
            .into()),
        }
    }
}

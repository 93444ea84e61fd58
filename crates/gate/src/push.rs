//! Devices on which a reviewer has switched push on: what a browser said, kept in the store.
//!
//! A subscription gives nobody authority: it is only where encrypted news go. What is in it is a browser's word, so its
//! address is checked like a callback's, when it arrives and whenever something is sent.

use placet_core::Timestamp;
use placet_core::id::ReviewerId;
use placet_core::payload::sha256_hex;
use placet_core::policy::{Policy, Reviewer};
use placet_core::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::{Error, Gate};

/// On how many devices one reviewer is told. One more takes the place of the oldest.
pub const MOST_DEVICES: usize = 10;

/// How often one reviewer may switch push on within a day.
const OFTEN: u32 = 50;

/// A device that is told of a reviewer's requests (W3C Push API, `PushSubscription`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushDevice {
    /// Whose.
    pub reviewer: ReviewerId,
    /// The address at the browser's push service. Whoever has it can address the device, so it is not for the log.
    pub endpoint: String,
    /// The device's public key: an uncompressed point of P-256, 65 bytes in base64url.
    pub p256dh: String,
    /// The secret that it shares with this gate: 16 bytes in base64url.
    pub auth: String,
    /// The reviewer's `generation` then: raising it ends the subscription, as it voids their links.
    pub generation: u32,
    /// Since when.
    pub added_at: Timestamp,
}

/// Shows neither address nor secret.
impl std::fmt::Debug for PushDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushDevice")
            .field("reviewer", &self.reviewer)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl PushDevice {
    /// Names it among its reviewer's devices: 32 hex digits of its address's SHA-256, which the device knows too.
    pub fn id(&self) -> String {
        let mut id = sha256_hex(self.endpoint.as_bytes());
        id.truncate(32);
        id
    }

    /// Whether that person is still told there: not where their `generation` has been raised since.
    pub const fn is_told(&self, person: &Reviewer) -> bool {
        self.generation == person.generation
    }
}

/// What a page needs to switch push on and off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSwitch {
    /// What the browser subscribes with.
    pub public_key: String,
    /// The ids of the devices that are told.
    pub devices: Vec<String>,
}

/// What a browser says of its subscription. Its address was checked as far as that can be done without a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct UnverifiedDevice {
    /// The address.
    pub endpoint: String,
    /// Its public key.
    pub p256dh: String,
    /// Its secret.
    pub auth: String,
}

impl Gate {
    /// The devices of that reviewer that are told.
    pub async fn push_devices(&self, person: &Reviewer) -> Result<Vec<PushDevice>, Error> {
        let mut devices = self.store.push_devices(&person.id).await?;
        devices.retain(|device| device.is_told(person));
        Ok(devices)
    }

    /// Forgets a device that the push service does not know any more.
    pub async fn forget_push_device(&self, device: &PushDevice) -> Result<(), Error> {
        Ok(self.store.remove_push_device(&device.reviewer, &device.id()).await.map(drop)?)
    }

    /// Forgets the devices of those who have left the policy: somebody else may be given their id.
    ///
    /// Where the policy in force has that id again, what was added since it was installed is the new person's.
    pub async fn forget_devices_of(&self, left: &[ReviewerId]) -> Result<(), Error> {
        if left.is_empty() {
            return Ok(());
        }
        let Some(policy) = self.reload_policy().await? else { return Ok(()) };
        let Some(installed) = self.store.policy().await? else { return Ok(()) };
        for reviewer in left {
            let is_back = policy.reviewer(reviewer).is_some();
            for device in self.store.push_devices(reviewer).await? {
                if !is_back || device.added_at < installed.installed_at {
                    self.store.remove_push_device(reviewer, &device.id()).await?;
                }
            }
        }
        Ok(())
    }

    /// What the inbox of that reviewer needs to switch push; none where the policy or this gate has no push for them.
    pub(crate) async fn push_switch(
        &self,
        reviewer: &ReviewerId,
        policy: &Policy,
    ) -> Result<Option<PushSwitch>, Error> {
        let Some(person) = policy.reviewer(reviewer).filter(|person| person.takes_push()) else {
            return Ok(None);
        };
        let Some(key) = self.keys.keyring().await?.push.clone() else { return Ok(None) };
        let devices = self.push_devices(person).await?.iter().map(PushDevice::id).collect();
        Ok(Some(PushSwitch { public_key: key.public, devices }))
    }

    /// The reviewer of that inbox, who switches push on or off there.
    ///
    /// Refuses with `not_found` and `link_expired`; `not_found` also where there is no push for them. And with
    /// `invalid_request` for a nonce that the inbox did not mint within a day.
    pub async fn push_reviewer(
        &self,
        unverified_inbox: &str,
        unverified_nonce: &str,
    ) -> Result<Reviewer, Error> {
        let policy = self.policy().await?;
        let reviewer = self.inbox_owner(unverified_inbox, &policy).await?;
        let person = policy.reviewer(&reviewer).filter(|person| person.takes_push());
        let has_key = self.keys.keyring().await?.push.is_some();
        let person = person.filter(|_| has_key).cloned().ok_or(Refusal::NotFound)?;
        self.check_inbox_nonce(unverified_inbox, unverified_nonce).await?;
        Ok(person)
    }

    /// From now on, that device is told of the requests of whom [`Gate::push_reviewer`] has found. Returns its id.
    ///
    /// Refuses with `rate_limited`.
    pub async fn switch_push_on(&self, person: &Reviewer, said: UnverifiedDevice) -> Result<String, Error> {
        let now = self.clock.now();
        let day = now.millis().div_euclid(placet_core::time::DAY_MS);
        let name = format!("push/{}/{day}", person.id);
        if self.store.tally(&name, now.plus_millis(placet_core::time::DAY_MS)).await? > OFTEN {
            return Err(Refusal::RateLimited { retry_after_seconds: 3600 }.into());
        }
        let device = PushDevice {
            reviewer: person.id.clone(),
            endpoint: said.endpoint,
            p256dh: said.p256dh,
            auth: said.auth,
            generation: person.generation,
            added_at: now,
        };
        self.store.keep_push_device(&device).await?;
        let (mut known, void): (Vec<_>, Vec<_>) =
            self.store.push_devices(&person.id).await?.into_iter().partition(|device| device.is_told(person));
        known.sort_by_key(|device| device.added_at);
        let too_many = known.len().saturating_sub(MOST_DEVICES);
        for old in known.iter().take(too_many).chain(&void) {
            self.store.remove_push_device(&person.id, &old.id()).await?;
        }
        Ok(device.id())
    }

    /// That device of theirs is told no more. One that is not known is off already.
    pub async fn switch_push_off(&self, person: &Reviewer, unverified_device: &str) -> Result<(), Error> {
        self.store.remove_push_device(&person.id, unverified_device).await?;
        Ok(())
    }
}

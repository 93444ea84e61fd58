//! Whether the tables are as a deployment should have them: for the operator, never on a request's way.

use aws_sdk_dynamodb::types::{PointInTimeRecoveryStatus, TimeToLiveStatus};
use placet_gate::Fault;

use crate::tables::TTL_ATTRIBUTE;
use crate::{DynamoStore, Inner};

impl DynamoStore {
    /// What the tables lack, one sentence each. Fails where they cannot be asked.
    pub async fn lacks(&self) -> Result<Vec<String>, Fault> {
        let mut lacks = Vec::new();
        for table in [&self.0.tables.requests, &self.0.tables.audit] {
            if !self.0.forgets(table).await? {
                lacks.push(format!(
                    "the table {table} has no TTL on `{TTL_ATTRIBUTE}`: what is over is kept for ever"
                ));
            }
            if !self.0.recovers(table).await? {
                lacks.push(format!(
                    "the table {table} has no point-in-time recovery: an accident could not be undone"
                ));
            }
            if !self.0.is_protected(table).await? {
                lacks.push(format!(
                    "the table {table} could be deleted by accident: deploy with `DeletionProtection=on`"
                ));
            }
        }
        Ok(lacks)
    }
}

impl Inner {
    async fn forgets(&self, table: &str) -> Result<bool, Fault> {
        let asked = self.client.describe_time_to_live().table_name(table).send().await;
        let described = asked.map_err(|error| Fault::new("a table's TTL cannot be asked", error))?;
        Ok(described.time_to_live_description.is_some_and(|ttl| {
            ttl.attribute_name.as_deref() == Some(TTL_ATTRIBUTE)
                && matches!(
                    ttl.time_to_live_status,
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                )
        }))
    }

    async fn is_protected(&self, table: &str) -> Result<bool, Fault> {
        let asked = self.client.describe_table().table_name(table).send().await;
        let described = asked.map_err(|error| Fault::new("a table cannot be described", error))?;
        Ok(described.table.and_then(|table| table.deletion_protection_enabled) == Some(true))
    }

    async fn recovers(&self, table: &str) -> Result<bool, Fault> {
        let asked = self.client.describe_continuous_backups().table_name(table).send().await;
        let described = asked.map_err(|error| Fault::new("a table's backups cannot be asked", error))?;
        let recovery = described
            .continuous_backups_description
            .and_then(|backups| backups.point_in_time_recovery_description)
            .and_then(|recovery| recovery.point_in_time_recovery_status);
        Ok(recovery == Some(PointInTimeRecoveryStatus::Enabled))
    }
}

//! Parts of a transaction.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::builders::{ConditionCheckBuilder, DeleteBuilder, PutBuilder, UpdateBuilder};
use placet_gate::Fault;

/// A part that puts an item.
pub(crate) fn put(put: PutBuilder) -> Result<TransactWriteItem, Fault> {
    put.build().map(|put| TransactWriteItem::builder().put(put).build()).map_err(unbuilt)
}

/// A part that changes an item.
pub(crate) fn update(update: UpdateBuilder) -> Result<TransactWriteItem, Fault> {
    update.build().map(|update| TransactWriteItem::builder().update(update).build()).map_err(unbuilt)
}

/// A part that only looks at an item.
pub(crate) fn check(check: ConditionCheckBuilder) -> Result<TransactWriteItem, Fault> {
    check.build().map(|check| TransactWriteItem::builder().condition_check(check).build()).map_err(unbuilt)
}

/// A part that deletes an item.
pub(crate) fn delete(delete: DeleteBuilder) -> Result<TransactWriteItem, Fault> {
    delete.build().map(|delete| TransactWriteItem::builder().delete(delete).build()).map_err(unbuilt)
}

fn unbuilt(error: BuildError) -> Fault {
    Fault::new("a transaction could not be put together", error)
}

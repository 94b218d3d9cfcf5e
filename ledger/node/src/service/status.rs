//! Errors as clients see them: each kind has one status, and its message is the error's own.

use agon_protocol::id::{BlockNumber, Netuid};
use agon_runtime::flags::sentence;
use tonic::Status;
use tracing::error;

use crate::archive::ArchiveError;
use crate::desk::DeskError;
use crate::mempool::SubmitError;

pub(super) fn no_such_subnet(netuid: Netuid) -> Status {
    Status::not_found(format!("there is no subnet {netuid}"))
}

pub(super) fn no_such_block(height: BlockNumber, newest: BlockNumber) -> Status {
    archive_status(&ArchiveError::NoSuchBlock { height, newest })
}

pub(super) fn submit_status(error: &SubmitError) -> Status {
    let message = error.to_string();
    match error {
        // Told in the reply, not as a status, wherever there is a reply.
        SubmitError::Refused(_) => Status::failed_precondition(message),
        SubmitError::Full | SubmitError::FullForAccount | SubmitError::Watched => {
            Status::resource_exhausted(message)
        }
        SubmitError::Closed => Status::unavailable(message),
    }
}

pub(super) fn desk_status(error: DeskError) -> Status {
    match error {
        DeskError::Busy => Status::resource_exhausted(error.to_string()),
        DeskError::Closed => Status::unavailable(error.to_string()),
    }
}

pub(super) fn archive_status(failure: &ArchiveError) -> Status {
    match failure {
        ArchiveError::NoSuchBlock { .. }
        | ArchiveError::BeforeFirst { .. }
        | ArchiveError::NotKept { .. }
        | ArchiveError::NoHeader
        | ArchiveError::NoCommittee { .. }
        | ArchiveError::NoSuchSubnet { .. } => Status::not_found(failure.to_string()),
        ArchiveError::Row(_) => Status::out_of_range(failure.to_string()),
        ArchiveError::Unfinished { .. } => Status::resource_exhausted(failure.to_string()),
        ArchiveError::NoFolder => Status::unimplemented(failure.to_string()),
        ArchiveError::Blocks(_)
        | ArchiveError::Store(_)
        | ArchiveError::Base(_)
        | ArchiveError::Export(_)
        | ArchiveError::Replay { .. } => {
            error!(reason = sentence(failure), "the past cannot be read");
            Status::internal("the node cannot read its past: see its log")
        }
    }
}

//! The protobuf contracts as Rust: messages, clients and servers of all services, and the
//! descriptor set with its custom options.
//!
//! Everything below `gen/` is generated from `proto/` and committed, so that a build needs
//! neither protoc nor a code generator. `make gen` writes it again; the test `generated`
//! fails when it differs from the protos.

#![expect(clippy::allow_attributes, reason = "generated code silences lints its own way")]

/// The encoded `FileDescriptorSet` of all contracts, with custom options (auth rules).
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.binpb");

mod json;

pub use json::json;

/// Packages of Google that ours import.
pub mod google {
    /// `google.type`.
    pub mod r#type {
        include!("gen/google.r#type.rs");
    }
}

macro_rules! package {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub mod $name {
            /// Version 1.
            pub mod v1 {
                include!(concat!("gen/rapport.", stringify!($name), ".v1.rs"));
            }
        }
    };
}

/// The suite's own packages, nested as protobuf names them.
pub mod rapport {
    package!(
        /// Words that all services share.
        common
    );
    package!(
        /// The change log between services.
        feed
    );
    package!(
        /// Who is this?
        identity
    );
    package!(
        /// What do we know?
        profile
    );
    package!(
        /// What are they worth, what will they do?
        scoring
    );
    package!(
        /// Who should take care of them?
        routing
    );
    package!(
        /// Did it work?
        feedback
    );
}

pub use rapport::{common, feed, feedback, identity, profile, routing, scoring};

//! What stands above something in the protos.

use std::collections::HashMap;

use prost_reflect::FileDescriptor;

/// The comments of one file, by the path of what they stand above.
pub(crate) struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    pub(crate) fn of(file: &FileDescriptor) -> Self {
        let places = file.file_descriptor_proto().source_code_info.iter();
        let commented = places.flat_map(|info| &info.location).filter_map(|place| {
            let comment = place.leading_comments.as_ref()?;
            Some((place.path.clone(), comment.split_whitespace().collect::<Vec<_>>().join(" ")))
        });
        Self(commented.collect())
    }

    /// On one line; empty if there is none.
    pub(crate) fn at(&self, path: &[i32]) -> String {
        self.0.get(path).cloned().unwrap_or_default()
    }
}

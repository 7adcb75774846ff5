//! Temporary.
pub mod apply;
pub mod client;
pub mod ports;
pub mod demo {
    //! Temporary.
    pub mod data;
    pub mod learning;
    pub mod recognition;
    pub mod report;
    pub mod value;
}

//! One verb per file.

pub mod attack;
pub mod audit;
pub mod bench;
pub mod certify;
pub mod cloud;
pub mod compare;
pub mod data;
pub mod demo;
pub mod eval;
pub mod figure;
pub mod merge;
pub mod model;
pub mod report;
pub mod reproduce;
pub mod smooth;
pub mod table;
pub mod train;

//! The registry's answers.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SchemaAnswer {
    /// Of a subject's version only.
    pub(crate) id: Option<u32>,
    pub(crate) schema: String,
    pub(crate) schema_type: Option<String>,
    #[serde(default)]
    pub(crate) references: Vec<ReferenceAnswer>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReferenceAnswer {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct IdAnswer {
    pub(crate) id: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorAnswer {
    pub(crate) error_code: Option<i64>,
    pub(crate) message: Option<String>,
}

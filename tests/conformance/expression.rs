//! Expressions as trees, so that one that differs can be taken apart.

use std::sync::Arc;

use ebap_values::PgType;

/// An operator, a function or a form of SQL for arguments of these types.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its SQL text; each `{}` is an argument.
    pub(crate) template: String,
    pub(crate) args: Vec<PgType>,
    pub(crate) returns: PgType,
}

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Leaf { sql: String, of: PgType },
    Call { operation: Arc<Operation>, args: Vec<Expression> },
}

impl Operation {
    pub(crate) fn new(template: impl Into<String>, args: &[PgType], returns: PgType) -> Self {
        Self { template: template.into(), args: args.to_vec(), returns }
    }

    pub(crate) fn written(&self, args: &[String]) -> String {
        let mut parts = self.template.split("{}");
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for (arg, part) in args.iter().zip(parts) {
            sql.push_str(arg);
            sql.push_str(part);
        }
        sql
    }

    /// The operation with its types, by which differences are known.
    pub(crate) fn shape(&self) -> String {
        let types: Vec<String> = self.args.iter().map(|of| format!("<{}>", super::values::sql_name(of))).collect();
        self.written(&types)
    }
}

impl Expression {
    pub(crate) fn leaf(sql: impl Into<String>, of: &PgType) -> Self {
        Self::Leaf { sql: sql.into(), of: of.clone() }
    }

    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Leaf { sql, .. } => sql.clone(),
            Self::Call { operation, args } => {
                let args: Vec<String> = args.iter().map(Self::sql).collect();
                operation.written(&args)
            }
        }
    }

    pub(crate) fn shape(&self) -> String {
        match self {
            Self::Leaf { of, .. } => format!("<{}>", super::values::sql_name(of)),
            Self::Call { operation, .. } => operation.shape(),
        }
    }

    pub(crate) fn args(&self) -> &[Self] {
        match self {
            Self::Leaf { .. } => &[],
            Self::Call { args, .. } => args,
        }
    }

    /// The same operation on other arguments.
    pub(crate) fn with_args(&self, args: Vec<Self>) -> Self {
        match self {
            Self::Leaf { .. } => self.clone(),
            Self::Call { operation, .. } => Self::Call { operation: Arc::clone(operation), args },
        }
    }

    /// All parts, each behind its arguments.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        let mut parts: Vec<&Self> = self.args().iter().flat_map(Self::parts).collect();
        parts.push(self);
        parts
    }
}

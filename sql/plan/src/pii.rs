//! Which columns hold personal data: those with a `PII` clause, and columns of views that are made of them.
//!
//! A view's column that is such a column keeps its rule. One that is computed of personal data is hidden whole, but for
//! what counts: `count` and `approx_distinct` tell of numbers of people and not of people. What cannot be followed is
//! taken for personal data.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinConstraint,
    JoinOperator, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Subscript, TableAlias,
    TableFactor, TableWithJoins, Value, Visit, Visitor,
};
use ebap_catalog::{Catalog, ObjectId, ObjectKind, Privilege, Securable};
use ebap_functions::{Mask, holds_pii, mask_of};

use crate::{
    Plans, Result,
    apply::reparse,
    macros::expand,
    parser::{Body, SourceBody, ViewBody},
    planner::{folded, is_virtual, plan_catalog},
    roles::Actor,
};

/// Queries within each other, at the most; the parser allows fewer.
const DEPTH_MAX: usize = 128;

/// The part of a column that is personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personal {
    Whole(Mask),
    /// Parts of a struct, as their fields say.
    Parts,
}

/// Columns with personal data, by relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalColumns(BTreeMap<ObjectId, BTreeMap<String, Personal>>);

impl PersonalColumns {
    /// # Errors
    /// Where the catalog cannot be planned.
    pub fn of(catalog: &Catalog) -> Result<Self> {
        let plans = plan_catalog(catalog)?;
        let mut known = Known::default();
        for object in catalog.in_order() {
            match object.kind {
                ObjectKind::Stream | ObjectKind::Table | ObjectKind::MaterializedView => {
                    let (create, text) = reparse(object)?;
                    match create.body {
                        Body::Source(mut body) => {
                            body.expressions_mut().try_for_each(|expr| expand(catalog, expr, &text))?;
                            known.add_source(object.id, &body, &plans);
                        }
                        Body::View(mut body) => {
                            expand(catalog, &mut body.query, &text)?;
                            known.add_view(object.id, &body, &plans);
                        }
                        Body::Secret(_)
                        | Body::Connection { .. }
                        | Body::Sink(_)
                        | Body::Alert(_)
                        | Body::Function(_) => {}
                    }
                }
                ObjectKind::Secret
                | ObjectKind::Connection
                | ObjectKind::Sink
                | ObjectKind::Function
                | ObjectKind::Alert => {}
            }
        }
        Ok(Self(known.personal))
    }

    pub fn of_relation(&self, id: ObjectId) -> impl Iterator<Item = (&str, Personal)> {
        self.0.get(&id).into_iter().flatten().map(|(name, personal)| (name.as_str(), *personal))
    }

    /// Those that the role sees masked.
    pub fn masked_for(&self, catalog: &Catalog, role: ebap_catalog::RoleId, id: ObjectId) -> Vec<(&str, Personal)> {
        let may = |of: &Securable| catalog.may(role, Privilege::Unmask, of);
        if may(&Securable::Object(id)) {
            return Vec::new();
        }
        let columns = self.of_relation(id);
        columns.filter(|(name, _)| !may(&Securable::Column(id, (*name).to_owned()))).collect()
    }
}

/// The first column of personal data that a new view names, and its maker may not see. What a view, a sink or an alert
/// reads it reads for everybody.
pub(crate) fn unseen(
    catalog: &Catalog,
    actor: &Actor,
    body: &Body,
    needs: &[ObjectId],
    text: &str,
) -> Result<Option<(ObjectId, String)>> {
    if catalog.roles.is_superuser(actor.current) {
        return Ok(None);
    }
    let personal = PersonalColumns::of(catalog)?;
    let masked = |id: ObjectId| personal.masked_for(catalog, actor.current, id);
    if needs.iter().all(|id| masked(*id).is_empty()) {
        return Ok(None);
    }
    let named: Option<BTreeSet<(ObjectId, String)>> = match body {
        Body::View(view) => {
            let mut view = view.clone();
            expand(catalog, &mut view.query, text)?;
            let mut known = Known::default();
            let plans = plan_catalog(catalog)?;
            for object in catalog.in_order() {
                known.add_known(object.id, &personal, &plans);
            }
            let mut walk = Walk::new(&known);
            walk.query(&view.query, &[]);
            (!walk.lost).then_some(walk.named)
        }
        Body::Secret(_)
        | Body::Connection { .. }
        | Body::Source(_)
        | Body::Sink(_)
        | Body::Alert(_)
        | Body::Function(_) => None,
    };
    let all = needs.iter().flat_map(|id| masked(*id).into_iter().map(|(name, _)| (*id, name.to_owned())));
    Ok(all.into_iter().find(|column| named.as_ref().is_none_or(|named| named.contains(column))))
}

/// A column, or a part of one, within a query.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// Without it nothing is known of parts.
    field: Option<FieldRef>,
    whole: Option<Mask>,
    /// The column of a relation that it is, or is a part of.
    of: Option<(ObjectId, String)>,
}

impl Column {
    fn personal(&self) -> Option<Personal> {
        match (self.whole, &self.field) {
            (Some(mask), _) => Some(Personal::Whole(mask)),
            (None, Some(field)) if holds_pii(field) => Some(Personal::Parts),
            (None, _) => None,
        }
    }

    fn computed(name: String, personal: bool) -> Self {
        Self { name, field: None, whole: personal.then_some(Mask::Hide), of: None }
    }

    /// A part of a struct.
    fn part(&self, name: &str) -> Self {
        let fields = match self.field.as_ref().map(|field| field.data_type()) {
            Some(DataType::Struct(fields)) => Some(fields),
            _ => None,
        };
        let field = fields.and_then(|fields| fields.iter().find(|field| field.name().eq_ignore_ascii_case(name)));
        let whole = match (self.whole, field) {
            (Some(mask), _) => Some(mask),
            (None, Some(field)) => mask_of(field),
            // A key of a map, or what is not known.
            (None, None) => self.personal().map(|_| Mask::Hide),
        };
        Self { name: name.to_owned(), field: field.cloned(), whole, of: self.of.clone() }
    }
}

/// Columns of the relations that have been looked at.
#[derive(Default)]
struct Known {
    by_name: BTreeMap<String, Vec<Column>>,
    personal: BTreeMap<ObjectId, BTreeMap<String, Personal>>,
}

impl Known {
    fn add_source(&mut self, id: ObjectId, body: &SourceBody, plans: &Plans) {
        let Some(source) = plans.sources.iter().find(|source| source.id == id) else { return };
        let fields = source.full_schema.fields();
        let personal = fields.iter().filter_map(|field| Some((field.name().clone(), by_clause(field)?)));
        let mut personal: BTreeMap<String, Personal> = personal.collect();
        if !personal.is_empty() {
            // The key of a record may be the person.
            if source.full_schema.field_with_name(KEY_COLUMN).is_ok() {
                personal.insert(KEY_COLUMN.to_owned(), Personal::Whole(Mask::Hide));
            }
            let scope = [Item { name: Some(source.name.clone()), columns: columns_of(id, fields, &personal) }];
            let mut walk = Walk::new(self);
            for column in &body.columns {
                let computed = column.computed.as_ref().map(|expr| walk.column(expr, None, &scope));
                let Some(found) = computed.and_then(|column| column.personal()) else { continue };
                let has_parts = fields.iter().any(|field| *field.name() == column.name && holds_pii(field));
                let found = if found == Personal::Parts && !has_parts { Personal::Whole(Mask::Hide) } else { found };
                personal.entry(column.name.clone()).or_insert(found);
            }
        }
        self.insert(id, &source.name, fields, personal);
    }

    fn add_view(&mut self, id: ObjectId, body: &ViewBody, plans: &Plans) {
        let Some(view) = plans.views.iter().find(|view| view.id == id) else { return };
        let mut walk = Walk::new(self);
        let columns = walk.query(&body.query, &[]);
        let (lost, reads_personal) = (walk.lost, walk.reads_personal);
        let personal = view.schema.fields().iter().filter_map(|field| {
            let found: Vec<&Column> = columns.iter().filter(|column| column.name == *field.name()).collect();
            let of_column = found.iter().find_map(|column| column.personal());
            let personal = match of_column {
                // Only where the view's own field says so too can its parts be masked.
                Some(Personal::Parts) if !holds_pii(field) => Some(Personal::Whole(Mask::Hide)),
                Some(personal) => Some(personal),
                None => (lost && reads_personal).then_some(Personal::Whole(Mask::Hide)),
            };
            personal.map(|personal| (field.name().clone(), personal))
        });
        let personal = personal.collect();
        self.insert(id, &view.name, view.schema.fields(), personal);
    }

    fn add_known(&mut self, id: ObjectId, personal: &PersonalColumns, plans: &Plans) {
        let of = personal.of_relation(id).map(|(name, personal)| (name.to_owned(), personal)).collect();
        if let Some(source) = plans.sources.iter().find(|source| source.id == id) {
            self.insert(id, &source.name, source.full_schema.fields(), of);
        } else if let Some(view) = plans.views.iter().find(|view| view.id == id) {
            self.insert(id, &view.name, view.schema.fields(), of);
        }
    }

    fn insert(&mut self, id: ObjectId, name: &str, fields: &[FieldRef], personal: BTreeMap<String, Personal>) {
        self.by_name.insert(name.to_owned(), columns_of(id, fields, &personal));
        if !personal.is_empty() {
            self.personal.insert(id, personal);
        }
    }
}

fn columns_of(id: ObjectId, fields: &[FieldRef], personal: &BTreeMap<String, Personal>) -> Vec<Column> {
    let column = |field: &FieldRef| Column {
        name: field.name().clone(),
        field: Some(FieldRef::clone(field)),
        whole: match personal.get(field.name()) {
            Some(Personal::Whole(mask)) => Some(*mask),
            Some(Personal::Parts) | None => None,
        },
        of: Some((id, field.name().clone())),
    };
    fields.iter().map(column).collect()
}

/// The rule of its own `PII` clause, or those of its parts.
fn by_clause(field: &FieldRef) -> Option<Personal> {
    mask_of(field).map(Personal::Whole).or_else(|| holds_pii(field).then_some(Personal::Parts))
}

/// The column of a stream that holds the keys of its records.
const KEY_COLUMN: &str = "_key";

/// Columns of a FROM item, and the name that it has.
#[derive(Clone, Debug)]
struct Item {
    name: Option<String>,
    columns: Vec<Column>,
}

/// The columns that `*` stands for.
fn visible(item: &Item) -> Vec<Column> {
    item.columns.iter().filter(|column| !is_virtual(&column.name)).cloned().collect()
}

/// FROM items of a query and of those around it.
type Scope = Vec<Item>;

/// A walk through a query.
struct Walk<'a> {
    known: &'a Known,
    /// Queries of `WITH`, the newest last.
    with: Vec<(String, Vec<Column>)>,
    /// Columns that the query names and that hold personal data.
    named: BTreeSet<(ObjectId, String)>,
    /// A relation that the query reads has such.
    reads_personal: bool,
    /// Something is there that cannot be followed.
    lost: bool,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn new(known: &'a Known) -> Self {
        Self { known, with: Vec::new(), named: BTreeSet::new(), reads_personal: false, lost: false, depth: 0 }
    }

    /// The columns of a query's result. `outer`: what is around it.
    fn query(&mut self, query: &Query, outer: &[Item]) -> Vec<Column> {
        if self.depth >= DEPTH_MAX {
            self.lost = true;
            return Vec::new();
        }
        self.depth += 1;
        let before = self.with.len();
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = self.query(&table.query, outer);
            let columns = renamed(columns, &table.alias);
            self.with.push((folded(&table.alias.name), columns));
        }
        let mut body = query.body.clone();
        crate::column_names::name_columns(&mut body);
        let columns = self.set(&body, outer);
        // By columns of the result, or as the query itself may.
        if let Some(order) = &query.order_by {
            let result = [Item { name: None, columns: columns.clone() }];
            self.mentions(order, &[&result, outer].concat());
        }
        self.with.truncate(before);
        self.depth -= 1;
        columns
    }

    fn set(&mut self, set: &SetExpr, outer: &[Item]) -> Vec<Column> {
        match set {
            SetExpr::Select(select) => self.select(select, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { left, right, .. } => {
                let (mut left, right) = (self.set(left, outer), self.set(right, outer));
                self.lost |= left.len() != right.len();
                for (one, other) in left.iter_mut().zip(right) {
                    if one.personal() != other.personal() {
                        let personal = one.personal().is_some() || other.personal().is_some();
                        *one = Column::computed(one.name.clone(), personal);
                    }
                }
                left
            }
            SetExpr::Values(values) => {
                self.lost |= self.is_personal(values, outer);
                Vec::new()
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
                self.lost = true;
                Vec::new()
            }
        }
    }

    fn select(&mut self, select: &Select, outer: &[Item]) -> Vec<Column> {
        let mut items: Scope = Vec::new();
        for table in &select.from {
            let scope = [&items, outer].concat();
            items.extend(self.joined(table, &scope));
        }
        let scope = [&items, outer].concat();
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => columns.push(self.column(expr, None, &scope)),
                SelectItem::ExprWithAlias { expr, alias } => columns.push(self.column(expr, Some(alias), &scope)),
                SelectItem::ExprWithAliases { expr, aliases } => {
                    for alias in aliases {
                        columns.push(self.column(expr, Some(alias), &scope));
                    }
                }
                SelectItem::Wildcard(options) => {
                    // These give columns other names, or other values.
                    let changes = options.opt_replace.is_some() || options.opt_rename.is_some();
                    self.lost |= changes || options.opt_alias.is_some();
                    columns.extend(items.iter().flat_map(visible));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let name = name.0.last().and_then(|part| part.as_ident()).map(folded);
                    let found = items.iter().filter(|item| item.name == name);
                    columns.extend(found.flat_map(visible));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                    self.lost |= self.is_personal(expr, &scope);
                }
            }
        }
        for column in &columns {
            self.note(column);
        }
        // What only chooses rows names columns too.
        let conditions = [&select.prewhere, &select.selection, &select.having, &select.qualify];
        conditions.into_iter().flatten().for_each(|expr| self.mentions(expr, &scope));
        self.mentions(&select.named_window, &scope);
        if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
            exprs.iter().for_each(|expr| self.mentions(expr, &scope));
        }
        if let Some(ast::Distinct::On(exprs)) = &select.distinct {
            exprs.iter().for_each(|expr| self.mentions(expr, &scope));
        }
        columns
    }

    /// A table and what is joined with it. `outer`: what stands before it, and what is around.
    fn joined(&mut self, table: &TableWithJoins, outer: &[Item]) -> Vec<Item> {
        let mut items = self.factor(&table.relation, outer);
        for join in &table.joins {
            let scope = [&items, outer].concat();
            let others = self.factor(&join.relation, &scope);
            self.equated(&join.join_operator, &items, &others);
            items.extend(others);
            let scope = [&items, outer].concat();
            self.mentions(&join.join_operator, &scope);
        }
        items
    }

    /// Notes the columns that `USING` and `NATURAL` compare.
    fn equated(&mut self, join: &JoinOperator, left: &[Item], right: &[Item]) {
        let names: Vec<String> = match constraint(join) {
            Some(JoinConstraint::Using(names)) => {
                let last = |name: &ast::ObjectName| name.0.last().and_then(|part| part.as_ident()).map(folded);
                names.iter().filter_map(last).collect()
            }
            Some(JoinConstraint::Natural) => right.iter().flat_map(visible).map(|column| column.name).collect(),
            Some(JoinConstraint::On(_) | JoinConstraint::None) | None => Vec::new(),
        };
        for name in names {
            let sides = [left, right].map(|side| find(side, None, &name));
            sides.iter().flatten().for_each(|column| self.note(column));
        }
    }

    fn factor(&mut self, factor: &TableFactor, scope: &[Item]) -> Vec<Item> {
        let (columns, name, alias) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
                (self.relation(&name), Some(name), alias)
            }
            TableFactor::Table { alias, args: Some(args), .. } => (self.windowed(&args.args, scope), None, alias),
            TableFactor::Derived { subquery, alias, .. } => (self.query(subquery, scope), None, alias),
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                let personal = array_exprs.iter().any(|expr| self.is_personal(expr, scope));
                (vec![Column::computed(String::new(), personal)], None, alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.joined(table_with_joins, scope),
            other => {
                self.mentions(other, scope);
                self.lost = true;
                return Vec::new();
            }
        };
        match alias {
            Some(alias) => {
                vec![Item { name: Some(folded(&alias.name)), columns: renamed(columns, alias) }]
            }
            None => vec![Item { name, columns }],
        }
    }

    fn relation(&mut self, name: &str) -> Vec<Column> {
        if let Some((_, columns)) = self.with.iter().rev().find(|(with, _)| with == name) {
            return columns.clone();
        }
        let columns = self.known.by_name.get(name).cloned();
        self.lost |= columns.is_none();
        let columns = columns.unwrap_or_default();
        self.reads_personal |= columns.iter().any(|column| column.personal().is_some());
        columns
    }

    /// `TUMBLE(stream, …)`, or a function that makes rows.
    fn windowed(&mut self, args: &[FunctionArg], scope: &[Item]) -> Vec<Column> {
        let first = args.first().map(|arg| match arg {
            FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } => arg,
        });
        match first {
            Some(FunctionArgExpr::Expr(Expr::Identifier(name))) if self.is_relation(name) => {
                self.relation(&folded(name))
            }
            Some(FunctionArgExpr::Expr(Expr::Subquery(query))) => self.query(query, scope),
            _ => {
                let personal = args.iter().any(|arg| self.is_personal(arg, scope));
                vec![Column::computed(String::new(), personal)]
            }
        }
    }

    fn is_relation(&self, name: &Ident) -> bool {
        let name = folded(name);
        self.with.iter().any(|(with, _)| *with == name) || self.known.by_name.contains_key(&name)
    }

    /// A column of a SELECT list.
    fn column(&mut self, expr: &Expr, alias: Option<&Ident>, scope: &[Item]) -> Column {
        let name = alias.map(folded).or_else(|| last_part(expr).map(folded)).unwrap_or_default();
        match self.path(expr, scope) {
            Some(column) => Column { name, ..column },
            None => Column::computed(name, self.is_personal(expr, scope)),
        }
    }

    /// The column, or the part of one, that an expression is, where it is one.
    fn path(&self, expr: &Expr, scope: &[Item]) -> Option<Column> {
        match expr {
            Expr::Nested(inner) => self.path(inner, scope),
            Expr::Identifier(name) => find(scope, None, &folded(name)),
            Expr::CompoundIdentifier(parts) => {
                let parts: Vec<String> = parts.iter().map(folded).collect();
                let (first, rest) = parts.split_first()?;
                let qualified =
                    rest.split_first().and_then(|(column, rest)| Some((find(scope, Some(first), column)?, rest)));
                let (column, rest) = match qualified {
                    Some(found) => found,
                    None => (find(scope, None, first)?, rest),
                };
                Some(rest.iter().fold(column, |column, part| column.part(part)))
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                let mut column = self.path(root, scope)?;
                for access in access_chain {
                    column = match access {
                        AccessExpr::Dot(Expr::Identifier(name)) => column.part(&folded(name)),
                        AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => match &value.value {
                            Value::SingleQuotedString(name) => column.part(name),
                            _ => return None,
                        },
                        AccessExpr::Dot(_) | AccessExpr::Subscript(_) => return None,
                    };
                }
                Some(column)
            }
            _ => None,
        }
    }

    fn note(&mut self, column: &Column) {
        if column.personal().is_some() {
            self.named.extend(column.of.clone());
        }
    }

    /// Notes the columns of personal data that it names.
    fn mentions(&mut self, node: &impl Visit, scope: &[Item]) {
        self.is_personal(node, scope);
    }

    /// Whether a value that it gives is made of personal data.
    fn is_personal(&mut self, node: &impl Visit, scope: &[Item]) -> bool {
        let mut parts = Parts { walk: self, scope, skipped: 0, counted: 0, found: false };
        let _ = node.visit(&mut parts);
        parts.found
    }
}

/// The parts of an expression.
struct Parts<'w, 'a> {
    walk: &'w mut Walk<'a>,
    scope: &'w [Item],
    /// Within what has been looked at as a whole.
    skipped: usize,
    /// Within what counts.
    counted: usize,
    found: bool,
}

impl Visitor for Parts<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.skipped == 0 {
            let columns = self.walk.query(query, self.scope);
            self.found |= self.counted == 0 && columns.iter().any(|column| column.personal().is_some());
        }
        self.skipped += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.skipped -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.skipped > 0 {
            self.skipped += 1;
            return ControlFlow::Continue(());
        }
        if counts(expr) {
            self.counted += 1;
        }
        if self.counted == 0 && takes_rows(expr) {
            let all = self.scope.iter().flat_map(|item| &item.columns);
            let personal: Vec<Column> = all.filter(|column| column.personal().is_some()).cloned().collect();
            self.found |= !personal.is_empty();
            personal.iter().for_each(|column| self.walk.note(column));
        }
        if let Some(column) = self.walk.path(expr, self.scope) {
            self.walk.note(&column);
            self.found |= self.counted == 0 && column.personal().is_some();
            self.skipped = 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.skipped = self.skipped.saturating_sub(1);
        if self.skipped == 0 && counts(expr) {
            self.counted -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// Whether the value is a number of rows or of values.
fn counts(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded);
    name.is_some_and(|name| ["count", "approx_distinct", "approx_count_distinct"].contains(&name.as_str()))
}

/// Whether it is a function of whole rows, as `f(t.*)`.
fn takes_rows(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let FunctionArguments::List(list) = &function.args else { return false };
    let is_row = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } => {
            matches!(arg, FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_))
        }
    };
    list.args.iter().any(is_row)
}

fn constraint(join: &JoinOperator) -> Option<&JoinConstraint> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::AsOf { constraint, .. }
        | JoinOperator::StraightJoin(constraint) => Some(constraint),
        JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => None,
    }
}

fn last_part(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(name))) => Some(name),
            _ => None,
        },
        Expr::Nested(inner) => last_part(inner),
        _ => None,
    }
}

/// The column of a name; where several share it, the one with personal data.
fn find(scope: &[Item], of: Option<&str>, name: &str) -> Option<Column> {
    let items = scope.iter().filter(|item| of.is_none() || item.name.as_deref() == of);
    let named = items.flat_map(|item| item.columns.iter().map(move |column| (item, column)));
    // A row of a function has the name of its alias.
    let found: Vec<&Column> = named
        .filter(|(item, column)| {
            column.name == name || column.name.is_empty() && (of.is_some() || item.name.as_deref() == Some(name))
        })
        .map(|(_, column)| column)
        .collect();
    let is_personal = |column: &&&Column| column.personal().is_some();
    if let Some(first) = found.first() {
        return Some((*found.iter().find(is_personal).unwrap_or(first)).clone());
    }
    // A column of a function of personal data that nobody has named.
    let mut unnamed = scope.iter().flat_map(|item| &item.columns).filter(|column| column.name.is_empty());
    unnamed.find(|column| of.is_none() && column.personal().is_some()).cloned()
}

fn renamed(mut columns: Vec<Column>, alias: &TableAlias) -> Vec<Column> {
    // A function has as many columns as its alias says.
    if let [only] = &columns[..]
        && only.name.is_empty()
    {
        let personal = only.personal().is_some();
        columns.resize(alias.columns.len().max(1), Column::computed(String::new(), personal));
    }
    for (column, name) in columns.iter_mut().zip(&alias.columns) {
        column.name = folded(&name.name);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{apply, parse};

    const SOURCES: &str = "
        CREATE STREAM s (id BIGINT NOT NULL, name TEXT PII HASH, email TEXT PII ENCRYPT, region TEXT,
            metadata STRUCT<platform TEXT, phone TEXT PII ENCRYPT>, phones TEXT[] PII ENCRYPT, platform TEXT AS (metadata['platform']),
            domain TEXT AS (split_part(email, '@', 2)), at TIMESTAMPTZ NOT NULL, WATERMARK FOR at AS at)
            WITH (connector = 'file', path = 'x');
        CREATE TABLE users (id BIGINT PRIMARY KEY, email TEXT PII ENCRYPT, tier TEXT) WITH (connector = 'file', path = 'x');
        CREATE FUNCTION shout(t TEXT) RETURNS TEXT AS 'upper(t)';
        CREATE MATERIALIZED VIEW inner_view AS SELECT name, region, count(*) AS n FROM s GROUP BY name, region;";

    fn catalog(view: &str) -> Catalog {
        let text = format!("{SOURCES} CREATE MATERIALIZED VIEW v AS {view};");
        parse(&text).expect(view).into_iter().fold(Catalog::default(), |catalog, one| {
            apply(&catalog, &one.statement, &one.text, 0).unwrap_or_else(|error| panic!("{view}: {error:?}")).catalog
        })
    }

    fn personal(catalog: &Catalog, name: &str) -> String {
        let found = PersonalColumns::of(catalog).expect("it can be planned");
        let id = catalog.relation(name).expect(name).id;
        let show = |(name, personal): (&str, Personal)| match personal {
            Personal::Whole(Mask::Hash) => format!("{name}#"),
            Personal::Whole(Mask::Hide) => name.to_owned(),
            Personal::Parts => format!("{name}."),
        };
        found.of_relation(id).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn columns_of_views_are_personal_where_they_are_made_of_such() {
        assert_eq!(personal(&catalog("SELECT id FROM s"), "s"), "_key domain email metadata. name# phones");
        for (view, expected) in [
            ("SELECT id, region, platform FROM s", ""),
            ("SELECT name, email AS address, domain FROM s", "address domain name#"),
            ("SELECT * FROM users", "email"),
            ("SELECT id, users.email FROM users", "email"),
            ("SELECT upper(name) AS x, region FROM s", "x"),
            ("SELECT shout(name) AS x FROM s", "x"),
            ("SELECT id, email || tier FROM users", "?column?"),
            ("SELECT name, count(*) AS n FROM s GROUP BY name", "name#"),
            ("SELECT region, count(DISTINCT name) AS people, max(email) FROM s GROUP BY region", "max"),
            ("SELECT region, count(*) FILTER (WHERE email LIKE 'a%') AS n FROM s GROUP BY region", ""),
            ("SELECT metadata, id FROM s", "metadata."),
            ("SELECT metadata['platform'] AS p, metadata['phone'] AS phone FROM s", "phone"),
            ("SELECT CASE WHEN region = 'x' THEN name ELSE region END AS x FROM s", "x"),
            ("SELECT region, n, name FROM inner_view", "name#"),
            ("SELECT x.who, x.region FROM (SELECT lower(email) AS who, region FROM s) x", "who"),
            ("SELECT max, region FROM (SELECT max(email), region FROM s GROUP BY region) x", "max"),
            ("SELECT s.region, u.email FROM s JOIN users u ON u.id = s.id", "email"),
            ("SELECT s.region, u.tier FROM s JOIN users u ON u.email = s.email", ""),
            ("SELECT region AS x FROM s UNION ALL SELECT email FROM s", "x"),
            ("SELECT email, tier FROM s JOIN users USING (email)", "email"),
            ("SELECT id, unnest AS x FROM s CROSS JOIN UNNEST(phones)", "x"),
            ("SELECT id, x.phone FROM s CROSS JOIN UNNEST(phones) AS x(phone)", "phone"),
            ("SELECT id, x.phone, x.n FROM s CROSS JOIN UNNEST(phones) WITH ORDINALITY AS x(phone, n)", "n phone"),
            (
                "SELECT name, region, count(*) AS n FROM s GROUP BY name, region WINDOW TUMBLE (at, INTERVAL '1 minute')",
                "name#",
            ),
            (
                "SELECT window_start, email, count(*) AS n FROM TUMBLE(s, at, INTERVAL '1 minute') GROUP BY window_start, email",
                "email",
            ),
        ] {
            assert_eq!(personal(&catalog(view), "v"), expected, "{view}");
        }
    }

    #[test]
    fn whoever_may_not_see_a_column_makes_nothing_that_names_it() {
        let setup = format!(
            "{SOURCES} CREATE USER maker; GRANT SELECT ON s, users TO maker; GRANT CREATE ON SCHEMA public TO maker; GRANT UNMASK (name) ON s TO maker"
        );
        let catalog = parse(&setup).expect("it parses").into_iter().fold(Catalog::default(), |catalog, one| {
            apply(&catalog, &one.statement, &one.text, 0).expect(&one.text).catalog
        });
        let role = catalog.roles.find("maker").expect("the role").id;
        let actor = Actor { session: role, current: role };
        let make = |sql: &str| {
            let one = parse(sql).expect(sql).remove(0);
            crate::apply_by(&catalog, &one.statement, &one.text, 0, &actor).map(drop).map_err(|error| error.message)
        };
        let denied = |column: &str, of: &str| Err(format!("permission denied for column {column} of {of}"));
        for (sql, expected) in [
            ("CREATE MATERIALIZED VIEW v AS SELECT region, count(*) AS n FROM s GROUP BY region", Ok(())),
            ("CREATE MATERIALIZED VIEW v AS SELECT name, count(*) AS n FROM s GROUP BY name", Ok(())),
            ("CREATE MATERIALIZED VIEW v AS SELECT metadata['platform'] AS p FROM s", Ok(())),
            ("CREATE MATERIALIZED VIEW v AS SELECT email FROM s", denied("email", "stream s")),
            ("CREATE MATERIALIZED VIEW v AS SELECT region FROM s WHERE email = 'x'", denied("email", "stream s")),
            ("CREATE MATERIALIZED VIEW v AS SELECT metadata FROM s", denied("metadata", "stream s")),
            ("CREATE MATERIALIZED VIEW v AS SELECT * FROM users", denied("email", "table users")),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT s.region FROM s JOIN users u ON u.id = s.id AND u.email <> ''",
                denied("email", "table users"),
            ),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT s.region FROM s JOIN users USING (email)",
                denied("email", "stream s"),
            ),
            ("CREATE MATERIALIZED VIEW v AS SELECT s.region FROM s NATURAL JOIN users", denied("email", "stream s")),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT region, count(*) FILTER (WHERE email = 'x') AS n FROM s GROUP BY region",
                denied("email", "stream s"),
            ),
            (
                "CREATE SINK k FROM s WITH (connector = 'kafka', topic = 't', bootstrap_servers = 'k')",
                denied("_key", "stream s"),
            ),
        ] {
            assert_eq!(make(sql), expected, "{sql}");
        }
    }
}

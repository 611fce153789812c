//! `CREATE …` and `DROP …`.

use sqlparser::ast::ColumnOption;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::parser::StatementParser;
use super::statement::{
    Body, ColumnDef, CreateSink, CreateStream, CreateTable, CreateView, Drop, IfExists, Name, ObjectKind, Watermark,
};
use super::words::{closest, is_word};
use crate::error::{Code, Error, Result};

const KINDS: [&str; 6] = ["STREAM", "TABLE", "VIEW", "MATERIALIZED", "SINK", "SOURCE"];

/// What stands in the parentheses of a `CREATE`.
#[derive(Default)]
struct Items {
    columns: Vec<ColumnDef>,
    watermark: Option<Watermark>,
    primary_key: Vec<Name>,
}

impl StatementParser<'_> {
    /// What follows `CREATE`.
    pub(super) fn create(&mut self) -> Result<Body> {
        let from = self.span();
        let replace = self.words(&["OR", "REPLACE"]);
        let kind = self.kind("CREATE")?;
        let keep = self.words(&["IF", "NOT", "EXISTS"]);
        let if_exists = match (replace, keep) {
            (false, false) => IfExists::Fail,
            (false, true) => IfExists::Keep,
            (true, false) => IfExists::Replace,
            (true, true) => {
                let message = "OR REPLACE and IF NOT EXISTS contradict each other";
                return Err(self.error(Code::Syntax, from, message).hint("Leave one of them out.").into());
            }
        };
        let name = self.name("a name")?;
        match kind {
            ObjectKind::Stream => self.create_stream(name, if_exists).map(Body::CreateStream),
            ObjectKind::Table => self.create_table(name, if_exists).map(Body::CreateTable),
            ObjectKind::View => self.create_view(name, if_exists, Stored::No).map(Body::CreateView),
            ObjectKind::MaterializedView => self.create_view(name, if_exists, Stored::Yes).map(Body::CreateView),
            ObjectKind::Sink => self.create_sink(name, if_exists).map(Body::CreateSink),
            ObjectKind::Function | ObjectKind::All => Err(self.unknown_kind("CREATE")),
        }
    }

    /// `DROP kind [IF EXISTS] name`, from the kind on.
    pub(super) fn drop_object(&mut self) -> Result<Drop> {
        let kind = self.kind("DROP")?;
        let if_exists = self.words(&["IF", "EXISTS"]);
        let name = self.name("a name")?;
        Ok(Drop { kind, if_exists, name })
    }

    fn kind(&mut self, verb: &str) -> Result<ObjectKind> {
        match () {
            () if self.word("STREAM") || self.word("SOURCE") => Ok(ObjectKind::Stream),
            () if self.word("TABLE") => Ok(ObjectKind::Table),
            () if self.word("VIEW") => Ok(ObjectKind::View),
            () if self.words(&["MATERIALIZED", "VIEW"]) => Ok(ObjectKind::MaterializedView),
            () if self.word("SINK") => Ok(ObjectKind::Sink),
            () => Err(self.unknown_kind(verb)),
        }
    }

    fn unknown_kind(&self, verb: &str) -> Error {
        let found = self.found().unwrap_or_default();
        let error = self.expected_statement(&format!("STREAM, TABLE, VIEW, MATERIALIZED VIEW or SINK after {verb}"));
        match closest(&found, &KINDS) {
            Some(kind) => error.hint(format!("Did you mean {kind}?")).into(),
            None => error.into(),
        }
    }

    fn create_stream(&mut self, name: Name, if_exists: IfExists) -> Result<CreateStream> {
        let from = self.span();
        let items = self.items()?;
        if let Some(key) = items.primary_key.first() {
            return Err(self
                .error(Code::Unsupported, from, "a stream has no primary key")
                .at(key.place.clone())
                .hint("Use CREATE TABLE for rows that are updated by key.")
                .into());
        }
        let options = self.with_options()?;
        let has_query = self.word("AS");
        if has_query && !items.columns.is_empty() {
            let message = "a stream that is derived from a query gets its columns from it";
            return Err(self.error(Code::Syntax, from, message).hint("Leave the column list out.").into());
        }
        let query = if has_query { Some(self.query()?) } else { None };
        self.refuse_late_options(query.is_some())?;
        Ok(CreateStream { name, if_exists, columns: items.columns, watermark: items.watermark, options, query })
    }

    fn create_table(&mut self, name: Name, if_exists: IfExists) -> Result<CreateTable> {
        if is_word(self.peek(), "AS") {
            let message = "CREATE TABLE … AS is not supported";
            let hint = "Use CREATE MATERIALIZED VIEW … AS for a result that is kept up to date.";
            return Err(self.error(Code::Unsupported, self.span(), message).hint(hint).into());
        }
        let items = self.items()?;
        if items.primary_key.is_empty() {
            let message = format!("table \"{}\" has no primary key", name.value);
            let hint = "Add PRIMARY KEY (…), or use CREATE STREAM for rows that are only appended.";
            return Err(crate::error::StatementError::new(Code::Syntax, message).at(name.place).hint(hint).into());
        }
        let options = self.with_options()?;
        let Items { columns, watermark, primary_key } = items;
        Ok(CreateTable { name, if_exists, columns, primary_key, watermark, options })
    }

    fn create_view(&mut self, name: Name, if_exists: IfExists, stored: Stored) -> Result<CreateView> {
        let columns = match self.peek() {
            Token::LParen => self.list(|parser| parser.name("the name of a column"))?,
            _ => Vec::new(),
        };
        let options = self.with_options()?;
        self.expect_word("AS")?;
        let query = self.query()?;
        self.refuse_late_options(true)?;
        Ok(CreateView { name, if_exists, materialized: stored == Stored::Yes, columns, options, query })
    }

    fn create_sink(&mut self, name: Name, if_exists: IfExists) -> Result<CreateSink> {
        let from = self.span();
        let items = self.items()?;
        if !items.primary_key.is_empty() || items.watermark.is_some() {
            return Err(self.error(Code::Syntax, from, "a sink has columns only: no key and no watermark").into());
        }
        if !is_word(self.peek(), "WITH") {
            let error = self.expected_statement("WITH (…)");
            return Err(error.hint("Say where the rows go, for example WITH (path = 'out.csv').").into());
        }
        let options = self.with_options()?;
        let query = if self.word("AS") { Some(self.query()?) } else { None };
        self.refuse_late_options(query.is_some())?;
        Ok(CreateSink { name, if_exists, columns: items.columns, options, query })
    }

    fn refuse_late_options(&self, has_query: bool) -> Result<()> {
        if has_query && is_word(self.peek(), "WITH") {
            let message = "options stand before AS";
            return Err(self.error(Code::Syntax, self.span(), message).hint("Write … WITH (…) AS SELECT ….").into());
        }
        Ok(())
    }

    /// `(column, …)`, if it is next.
    fn items(&mut self) -> Result<Items> {
        let mut items = Items::default();
        if *self.peek() == Token::LParen {
            self.list(|parser| parser.item(&mut items))?;
        }
        Ok(items)
    }

    fn item(&mut self, items: &mut Items) -> Result<()> {
        let from = self.span();
        if self.words(&["WATERMARK", "FOR"]) {
            let watermark = self.watermark(from)?;
            return match items.watermark.replace(watermark) {
                Some(_) => Err(self.error(Code::Duplicate, from, "there can be only one watermark").into()),
                None => Ok(()),
            };
        }
        if is_word(self.peek(), "CONSTRAINT") && is_word(self.peek_nth(2), "PRIMARY") {
            self.words(&["CONSTRAINT"]);
            self.name("the name of the constraint")?;
        }
        if self.words(&["PRIMARY", "KEY"]) {
            let columns = self.list(|parser| parser.name("the name of a column"))?;
            return self.set_primary_key(items, columns, from);
        }
        self.column(items, from)
    }

    fn set_primary_key(&self, items: &mut Items, columns: Vec<Name>, span: Span) -> Result<()> {
        if !items.primary_key.is_empty() {
            let error = self.error(Code::Duplicate, span, "there can be only one primary key");
            return Err(error.hint("Write PRIMARY KEY (a, b) for a key of several columns.").into());
        }
        items.primary_key = columns;
        Ok(())
    }

    fn watermark(&mut self, from: Span) -> Result<Watermark> {
        let column = self.name("the name of a column")?;
        self.expect_word("AS")?;
        let expr = self.expr()?;
        let idle_after = match self.words(&["IDLE", "AFTER"]) {
            true => Some(self.interval()?),
            false => None,
        };
        Ok(Watermark { column, expr, idle_after, place: self.place_since(from) })
    }

    fn column(&mut self, items: &mut Items, from: Span) -> Result<()> {
        if !matches!(self.peek(), Token::Word(_)) {
            return Err(self.expected("a column"));
        }
        let mut ast = self.rule(Parser::parse_column_def)?;
        let place = self.place_since(from);
        let declared = ast.options.len();
        ast.options.retain(|option| !matches!(option.option, ColumnOption::PrimaryKey(_)));
        if ast.options.len() < declared {
            let value =
                if ast.name.quote_style.is_some() { ast.name.value.clone() } else { ast.name.value.to_lowercase() };
            let name = Name { value, place: self.place_of(ast.name.span) };
            self.set_primary_key(items, vec![name], from)?;
        }
        if let Some(option) = ast.options.iter().find(|option| option.option != ColumnOption::NotNull) {
            let text = super::syntax::shorten(&option.to_string());
            let message = format!("the column option {text} is not supported");
            let error = self.error(Code::Unsupported, from, message).at(place);
            return Err(error.hint("A column has a name, a type, and optionally NOT NULL or PRIMARY KEY.").into());
        }
        items.columns.push(ColumnDef { ast, place });
        Ok(())
    }
}

/// Whether a view keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    No,
    Yes,
}

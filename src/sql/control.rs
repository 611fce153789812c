//! Statements about rows, settings, cursors and time.

use sqlparser::ast::{self, TableFactor, TableWithJoins};
use sqlparser::tokenizer::{Span, Token};

use super::parser::StatementParser;
use super::statement::{
    AdvanceClock, AdvanceWatermark, Assignment, Body, Copy, Declare, Delete, Explain, Fetch, Insert, Name, ObjectKind,
    Purpose, Query, Silent, SqlOption, Update,
};
use super::words::{is_one_of, is_word};
use crate::error::{Code, Result};

impl StatementParser<'_> {
    /// `INSERT INTO name [(columns)] query`, from `INTO` on.
    pub(super) fn insert(&mut self) -> Result<Insert> {
        let upsert = "INSERT INTO a table replaces the row that has the same primary key.";
        self.refuse_next(&["OR", "OVERWRITE", "IGNORE"], "a modifier of INSERT", upsert)?;
        self.expect_word("INTO")?;
        self.word("TABLE");
        let target = self.name("the name of a stream, table or sink")?;
        let columns = match *self.peek() == Token::LParen && !self.at_query() {
            true => self.list(|parser| parser.name("the name of a column"))?,
            false => Vec::new(),
        };
        self.refuse_next(&["DEFAULT"], "DEFAULT VALUES", "Write NULL for a column without a value.")?;
        let query = self.query()?;
        self.refuse_next(&["ON"], "ON CONFLICT", upsert)?;
        self.refuse_next(&["RETURNING"], "RETURNING", "Read the rows from a query over the stream or table.")?;
        Ok(Insert { target, columns, query })
    }

    /// `UPDATE name SET column = value, … [WHERE …]`, from the name on.
    pub(super) fn update(&mut self) -> Result<Update> {
        let target = self.name("the name of a table")?;
        self.expect_word("SET")?;
        let mut assignments = vec![self.assignment()?];
        while self.sign(&Token::Comma) {
            assignments.push(self.assignment()?);
        }
        self.refuse_next(&["FROM"], "UPDATE … FROM", "INSERT INTO the table a query that joins it with the other.")?;
        let predicate = if self.word("WHERE") { Some(self.expr()?) } else { None };
        self.refuse_next(&["RETURNING"], "RETURNING", "Read the rows from a query over the table.")?;
        Ok(Update { target, assignments, predicate })
    }

    fn assignment(&mut self) -> Result<Assignment> {
        let column = self.name("the name of a column")?;
        self.expect_sign(&Token::Eq)?;
        Ok(Assignment { column, value: self.expr()? })
    }

    /// `DELETE FROM name [WHERE …]`, from `FROM` on.
    pub(super) fn delete(&mut self) -> Result<Delete> {
        self.expect_word("FROM")?;
        let target = self.name("the name of a table")?;
        let predicate = if self.word("WHERE") { Some(self.expr()?) } else { None };
        self.refuse_next(&["USING"], "DELETE … USING", "Use WHERE … IN (SELECT …).")?;
        self.refuse_next(&["RETURNING"], "RETURNING", "Read the rows from a query over the table.")?;
        Ok(Delete { target, predicate })
    }

    /// `COPY (query) | name TO 'path' [[WITH] (options)]`, from what is copied on.
    pub(super) fn copy(&mut self) -> Result<Copy> {
        let query = if *self.peek() == Token::LParen { self.query()? } else { self.whole_relation()? };
        self.refuse_next(&["FROM"], "COPY … FROM", "Read the file with INSERT INTO … SELECT * FROM 'file'.")?;
        self.expect_word("TO")?;
        let span = self.span();
        let value = match self.peek() {
            Token::SingleQuotedString(path) => path.clone(),
            _ => return Err(self.expected("the path of a file in quotes")),
        };
        self.rule(|parser| parser.parse_literal_string())?;
        let place = self.place_of(span);
        let key = Name { value: "path".to_string(), place: place.clone() };
        let mut options = vec![SqlOption { key, value, place }];
        if self.word("WITH") || *self.peek() == Token::LParen {
            options.extend(self.options()?);
        }
        Ok(Copy { query, options })
    }

    /// `name`, read as `SELECT * FROM name`.
    fn whole_relation(&mut self) -> Result<Query> {
        let name = self.rule(|parser| parser.parse_object_name(true))?;
        let mut query = self.parse_template("SELECT * FROM relation")?;
        if let ast::SetExpr::Select(select) = query.body.as_mut()
            && let [TableWithJoins { relation: TableFactor::Table { name: relation, .. }, .. }] = &mut select.from[..]
        {
            *relation = name;
        }
        Ok(self.finish(query))
    }

    /// `EXPLAIN [ANALYZE] statement` and `EXPLAIN WHY`, from the second word on.
    pub(super) fn explain(&mut self) -> Result<Body> {
        if self.word("WHY") {
            return self.explain_why().map(Body::ExplainWhy);
        }
        let analyze = self.word("ANALYZE");
        let (query, purpose) = self.explained()?;
        Ok(Body::Explain(Explain { analyze, query, purpose }))
    }

    /// A statement that holds a query, or the name of something that is defined by one.
    fn explain_why(&mut self) -> Result<Silent> {
        let statement = ["DECLARE", "INSERT", "COPY", "CREATE"].iter().any(|word| is_word(self.peek(), word));
        if self.at_query() || statement {
            return self.explained().map(|(query, purpose)| Silent::Query(Box::new(query), purpose));
        }
        self.name("a query, or the name of a cursor, view, stream or sink").map(Silent::Name)
    }

    /// The query of the statement that is explained.
    fn explained(&mut self) -> Result<(Query, Purpose)> {
        if self.at_query() {
            return Ok((self.query()?, Purpose::Asked));
        }
        let from = self.span();
        let query = match () {
            () if self.word("DECLARE") => Some((self.declare()?.query, Purpose::GoesOn)),
            () if self.word("INSERT") => Some((self.insert()?.query, Purpose::Asked)),
            () if self.word("COPY") => Some((self.copy()?.query, Purpose::Asked)),
            () if self.word("CREATE") => self.created_query()?,
            () => return Err(self.expected("a query")),
        };
        query.ok_or_else(|| {
            let error = self.error(Code::Unsupported, from, "there is no query in this statement to explain");
            error.hint("EXPLAIN takes a query, or a statement that holds one.").into()
        })
    }

    fn created_query(&mut self) -> Result<Option<(Query, Purpose)>> {
        Ok(match self.create()? {
            Body::CreateStream(create) => create.query.map(|query| (query, Purpose::GoesOn)),
            Body::CreateView(create) => {
                Some((create.query, if create.materialized { Purpose::GoesOn } else { Purpose::Asked }))
            }
            Body::CreateSink(create) => create.query.map(|query| (query, Purpose::GoesOn)),
            Body::CreateTable(_)
            | Body::Query(_)
            | Body::Insert(_)
            | Body::Update(_)
            | Body::Delete(_)
            | Body::Copy(_)
            | Body::Drop(_)
            | Body::ShowObjects(_)
            | Body::ShowSetting(_)
            | Body::Describe(_)
            | Body::Set(_)
            | Body::Explain(_)
            | Body::ExplainWhy(_)
            | Body::Declare(_)
            | Body::Fetch(_)
            | Body::CloseCursor(_)
            | Body::CloseStream(_)
            | Body::AdvanceClock(_)
            | Body::AdvanceWatermark(_)
            | Body::Checkpoint
            | Body::Restart => None,
        })
    }

    /// `DECLARE name CURSOR FOR query`, from the name on.
    pub(super) fn declare(&mut self) -> Result<Declare> {
        let cursor = self.name("the name of a cursor")?;
        self.expect_word("CURSOR")?;
        self.expect_word("FOR")?;
        Ok(Declare { cursor, query: self.query()? })
    }

    /// `FETCH ALL | n [FROM] cursor`, from the count on; `FETCH NEXT` and no count are one row.
    pub(super) fn fetch(&mut self) -> Result<Fetch> {
        let count = match self.peek() {
            Token::Number(number, _) => match number.parse() {
                Ok(count) => Some(Some(count)),
                Err(_) => return Err(self.expected("ALL or a whole number of rows")),
            },
            _ => None,
        };
        let count = match count {
            Some(count) => {
                self.rule(|parser| parser.parse_number_value())?;
                count
            }
            None if self.word("ALL") => None,
            None => return Err(self.expected("ALL or a whole number of rows")),
        };
        if !self.word("FROM") {
            self.word("IN");
        }
        Ok(Fetch { count, cursor: self.name("the name of a cursor")? })
    }

    /// `CLOSE [STREAM | TABLE] name`, from `STREAM` on.
    pub(super) fn close(&mut self) -> Result<Body> {
        let closes_input = is_one_of(self.peek(), &["STREAM", "TABLE", "SOURCE"]) && *self.peek_nth(1) != Token::EOF;
        if closes_input {
            self.rule(|parser| parser.parse_identifier())?;
            return self.name("the name of a stream").map(Body::CloseStream);
        }
        self.name("the name of a cursor").map(Body::CloseCursor)
    }

    /// `ADVANCE CLOCK …` and `ADVANCE WATERMARK …`, from the second word on.
    pub(super) fn advance(&mut self) -> Result<Body> {
        if self.word("CLOCK") {
            return self.advance_clock().map(Body::AdvanceClock);
        }
        if self.word("WATERMARK") {
            return self.advance_watermark().map(Body::AdvanceWatermark);
        }
        Err(self.expected("CLOCK or WATERMARK after ADVANCE"))
    }

    fn advance_clock(&mut self) -> Result<AdvanceClock> {
        if self.word("BY") {
            let span = self.span();
            let interval = self.interval()?;
            if interval.nanos() < 0 {
                return Err(self.error(Code::InvalidArgument, span, "the clock cannot go back").into());
            }
            return Ok(AdvanceClock::By(interval));
        }
        if self.word("TO") {
            return self.timestamp().map(AdvanceClock::To);
        }
        Err(self.expected("BY INTERVAL '…' or TO TIMESTAMP '…'"))
    }

    fn advance_watermark(&mut self) -> Result<AdvanceWatermark> {
        self.expect_word("OF")?;
        let relation = self.name("the name of a stream")?;
        self.expect_word("TO")?;
        Ok(AdvanceWatermark { relation, to: self.timestamp()? })
    }

    /// `SET name = value | SET name TO value`, from the name on.
    pub(super) fn set(&mut self) -> Result<SqlOption> {
        let key = self.option_key()?;
        if !self.word("TO") && !self.sign(&Token::Eq) {
            return Err(self.expected("\"=\" or TO"));
        }
        self.option_value(key)
    }

    /// What follows `SHOW`.
    pub(super) fn show(&mut self) -> Result<Body> {
        let alone = *self.peek_nth(1) == Token::EOF;
        let objects = match () {
            () if self.words(&["MATERIALIZED", "VIEWS"]) => Some(ObjectKind::MaterializedView),
            () if !alone => None,
            () if self.word("STREAMS") || self.word("SOURCES") => Some(ObjectKind::Stream),
            () if self.word("TABLES") => Some(ObjectKind::Table),
            () if self.word("VIEWS") => Some(ObjectKind::View),
            () if self.word("SINKS") => Some(ObjectKind::Sink),
            () if self.word("FUNCTIONS") => Some(ObjectKind::Function),
            () if self.word("ALL") => Some(ObjectKind::All),
            () => None,
        };
        match objects {
            Some(kind) => Ok(Body::ShowObjects(kind)),
            None if *self.peek() == Token::EOF => {
                Err(self.expected("STREAMS, TABLES, VIEWS, SINKS, FUNCTIONS, ALL or the name of a setting"))
            }
            None => self.option_key().map(Body::ShowSetting),
        }
    }

    /// The place of a span of the statement.
    pub(super) fn place_of(&self, span: Span) -> crate::error::Place {
        self.source().place(span)
    }
}

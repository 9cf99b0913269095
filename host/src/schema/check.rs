//! A value against a compiled schema: the steps are counted, what is found is bounded and holds nothing of the value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

use super::{DriftKind, Rule, Schema, Types, is_whole, words};
use crate::error::Error;
use crate::text::{SHOWN_CHARS_MAX, shown, suggestion};

/// Steps that the check of one input or output may take: so many, and more for each byte of it, but never above the most.
const STEPS: u64 = 2_000_000;
const STEPS_PER_BYTE: u64 = 20;
pub(crate) const STEPS_MAX: u64 = 20_000_000;
/// Most schemas that are being looked at inside each other.
pub(crate) const DEPTH_MAX: usize = 256;
/// So many of these an honest schema takes for each level of a value.
const DEPTH_PER_LEVEL: usize = 4;
/// Steps that matching one byte of a text against a pattern counts for.
const STEPS_PER_PATTERN_BYTE: u64 = 16;
/// Steps that telling one misfit counts for: its place and its words are written out.
const STEPS_PER_MISFIT: u64 = 64;
/// The same of a field that the schema does not list, of which a page may have very many without being wrong.
const STEPS_PER_NEW: u64 = 16;
/// Longest text that is matched against a pattern.
pub(crate) const PATTERN_TEXT_BYTES_MAX: usize = 16 << 10;
/// Most misfits of an input that are told at once.
const REASONS_MAX: usize = 10;
/// Most different misfits that one check of outputs keeps.
const KEPT_MAX: usize = 200;
/// Most allowed values that a sentence names.
pub(super) const NAMED_MAX: usize = 12;

/// How strictly a value is looked at, and how its place is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As the schema says; array indices are told.
    Input,
    /// Unknown fields pass and are told as new; one of several alternatives is enough; formats count; `*` stands for an
    /// array index, and for a key that the schema does not list.
    Output,
}

/// One step of a path.
#[derive(Clone, Copy)]
enum Segment<'v> {
    /// A key that the schema lists.
    Listed(&'v str),
    /// A key that it does not.
    Key(&'v str),
    Index(usize),
}

/// What a check found.
pub(crate) struct Found {
    mode: Mode,
    /// By place and kind; of an input by sentence too.
    entries: BTreeMap<(String, DriftKind, String), u64>,
    /// How many were found after there was no place left.
    beyond: u64,
}

impl Found {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, entries: BTreeMap::new(), beyond: 0 }
    }

    /// For outputs.
    pub(crate) fn of_outputs() -> Self {
        Self::new(Mode::Output)
    }

    /// Each misfit of an output: path, kind, what was expected, how often.
    pub(crate) fn misfits(&self) -> impl Iterator<Item = (&str, DriftKind, &str, u64)> {
        self.entries.iter().map(|((path, kind, expected), count)| (path.as_str(), *kind, expected.as_str(), *count))
    }

    /// How many were found beyond those that are kept.
    pub(crate) fn beyond(&self) -> u64 {
        self.beyond
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.beyond == 0
    }

    pub(super) fn into_entries(self) -> Vec<(String, String)> {
        self.entries.into_keys().map(|(path, _, expected)| (path, expected)).collect()
    }

    /// Adds what `count` is worth of one misfit. The words of an output's misfit are those of its first.
    pub(crate) fn add(&mut self, path: String, kind: DriftKind, expected: String, count: u64) {
        let most = if self.mode == Mode::Input { REASONS_MAX } else { KEPT_MAX };
        let key = (path, kind, expected);
        if self.mode == Mode::Output {
            let from = (key.0.clone(), kind, String::new());
            let known = self.entries.range_mut(from..).next();
            if let Some((_, known)) = known.filter(|((path, known, _), _)| *path == key.0 && *known == kind) {
                *known = known.saturating_add(count);
                return;
            }
        }
        if let Some(known) = self.entries.get_mut(&key) {
            *known = known.saturating_add(count);
        } else if self.entries.len() < most {
            self.entries.insert(key, count);
        } else {
            self.beyond = self.beyond.saturating_add(count);
        }
    }
}

/// Steps that the check of so many bytes of JSON may take.
pub(crate) fn steps_for(bytes: usize) -> u64 {
    STEPS.saturating_add((bytes as u64).saturating_mul(STEPS_PER_BYTE)).min(STEPS_MAX)
}

/// Why a check gave up before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GaveUp {
    /// There were no steps left.
    Steps,
    /// Too many schemas stood inside each other.
    Depth,
    /// The text at this place is too long to be matched with a pattern.
    Text(String),
}

impl GaveUp {
    /// The limit that was reached.
    pub(super) fn limit(&self) -> &'static str {
        match self {
            Self::Steps => "schema_steps",
            Self::Depth => "schema_depth",
            Self::Text(_) => "pattern_text_bytes",
        }
    }

    /// The error for an input that had so many steps. It says whose fault it is: where there could have been more steps,
    /// or the value is flat, the schema asks for too much.
    pub(super) fn error(&self, value: &Value, steps: u64) -> Error {
        let message = match self {
            Self::Steps if steps < STEPS_MAX => format!(
                "the plugin's schema asks for too much: an input of this length may take {steps} steps, the limit \
                 schema_steps"
            ),
            Self::Steps => format!(
                "the input is too large to be checked within the limit schema_steps of {STEPS_MAX}; send less at once"
            ),
            Self::Depth if levels(value).saturating_mul(DEPTH_PER_LEVEL) < DEPTH_MAX => {
                format!("the plugin's schema goes round in circles, beyond the limit schema_depth of {DEPTH_MAX}")
            }
            Self::Depth => {
                format!("the input nests too deeply to be checked within the limit schema_depth of {DEPTH_MAX}")
            }
            Self::Text(place) => {
                let place = if place.is_empty() { "a text or a name in the input" } else { place.as_str() };
                format!(
                    "{place} is longer than the limit pattern_text_bytes of {PATTERN_TEXT_BYTES_MAX} for what has a \
                     pattern"
                )
            }
        };
        Error::limit(self.limit(), message).with_details(crate::limits::FIXED)
    }
}

/// How many values are inside each other, at most.
fn levels(value: &Value) -> usize {
    let inside = match value {
        Value::Array(items) => items.iter().map(levels).max(),
        Value::Object(fields) => fields.values().map(levels).max(),
        _ => None,
    };
    1 + inside.unwrap_or(0)
}

/// One check under way.
pub(super) struct Check<'s> {
    schema: &'s Schema,
    mode: Mode,
    steps: u64,
    depth: usize,
    /// Set where there was no end in sight.
    gave_up: Option<GaveUp>,
}

type Place<'v> = Vec<Segment<'v>>;

impl<'s> Check<'s> {
    pub(super) fn new(schema: &'s Schema, mode: Mode, steps: u64) -> Self {
        Self { schema, mode, steps, depth: 0, gave_up: None }
    }

    pub(super) fn steps_left(&self) -> u64 {
        self.steps
    }

    /// Adds what differs to `found`, and tells why it gave up, where it did: then more may differ.
    pub(super) fn run(&mut self, value: &Value, found: &mut Found) -> Option<GaveUp> {
        self.locate(0, value, &mut Vec::new(), Some(found));
        self.gave_up.take()
    }

    /// Whether there is no end in sight. Everything fits then.
    fn is_spent(&self) -> bool {
        self.gave_up.is_some()
    }

    /// The first reason counts.
    fn give_up(&mut self, why: GaveUp) {
        if self.gave_up.is_none() {
            self.gave_up = Some(why);
        }
    }

    /// Counts steps; false when there are none left.
    fn spend(&mut self, steps: u64) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        if self.steps == 0 {
            self.give_up(GaveUp::Steps);
        }
        !self.is_spent()
    }

    /// A value at a place of its own: what is new there is told too.
    fn locate<'v>(&mut self, node: usize, value: &'v Value, at: &mut Place<'v>, mut found: Option<&mut Found>) -> bool {
        let fits = self.judge(node, value, at, found.as_deref_mut());
        if self.mode == Mode::Output
            && let (Value::Object(fields), Some(found)) = (value, found)
        {
            self.tell_new(node, value, fields, at, found);
        }
        fits
    }

    /// Whether a value fits a node; without `found` it stops at the first misfit.
    fn judge<'v>(&mut self, node: usize, value: &'v Value, at: &mut Place<'v>, mut found: Option<&mut Found>) -> bool {
        if self.depth >= DEPTH_MAX {
            self.give_up(GaveUp::Depth);
        }
        if !self.spend(1) {
            return true;
        }
        self.depth += 1;
        let schema = self.schema;
        let mut fits = true;
        for rule in &schema.nodes[node] {
            let passes = self.rule(node, rule, value, at, found.as_deref_mut());
            fits &= passes;
            // Of another type nothing else is worth telling.
            let is_enough = !passes && (found.is_none() || matches!(rule, Rule::Types(_)));
            if is_enough || !self.spend(1) {
                break;
            }
        }
        self.depth -= 1;
        fits
    }

    /// The same for one of several forms, of which another may fit: where a text is too long for a pattern of this one, that
    /// is the answer, and the check goes on.
    fn tried<'v>(
        &mut self,
        node: usize,
        value: &'v Value,
        at: &mut Place<'v>,
        found: Option<&mut Found>,
    ) -> Result<bool, GaveUp> {
        if self.is_spent() {
            return Ok(true);
        }
        let fits = self.judge(node, value, at, found);
        match self.gave_up.take_if(|why| matches!(why, GaveUp::Text(_))) {
            Some(why) if fits => Err(why),
            _ => Ok(fits),
        }
    }

    fn rule<'v>(
        &mut self,
        node: usize,
        rule: &'s Rule,
        value: &'v Value,
        at: &mut Place<'v>,
        mut found: Option<&mut Found>,
    ) -> bool {
        use DriftKind::{Enum, Format, Other, Type};
        match (rule, value) {
            (Rule::Never, _) => self.told(false, Other, at, || "nothing: this may not be here".to_owned(), found),
            (Rule::Types(types), _) => self.told(types.has(value), Type, at, || expected_types(*types, value), found),
            (Rule::Values(allowed), _) => {
                let is_one = !self.spend(allowed.steps) || allowed.values.iter().any(|one| is_same(one, value));
                self.told(is_one, Enum, at, || format!("expected {}", one_of(&allowed.named)), found)
            }
            (Rule::AtLeast(limit), Value::Number(number)) => {
                self.told(!is_less(number, limit), Other, at, || format!("expected at least {limit}"), found)
            }
            (Rule::Above(limit), Value::Number(number)) => {
                self.told(is_less(limit, number), Other, at, || format!("expected more than {limit}"), found)
            }
            (Rule::AtMost(limit), Value::Number(number)) => {
                self.told(!is_less(limit, number), Other, at, || format!("expected at most {limit}"), found)
            }
            (Rule::Below(limit), Value::Number(number)) => {
                self.told(is_less(number, limit), Other, at, || format!("expected less than {limit}"), found)
            }
            (Rule::MultipleOf(unit), Value::Number(number)) => {
                self.told(is_multiple(number, unit), Other, at, || format!("expected a multiple of {unit}"), found)
            }
            (Rule::Length { min, max }, Value::String(text)) => {
                self.spend(1 + text.len() as u64 / 64);
                let length = text.chars().count() as u64;
                self.told((*min..=*max).contains(&length), Other, at, || between(*min, *max, "characters"), found)
            }
            (Rule::Pattern(..), Value::String(text)) if text.len() > PATTERN_TEXT_BYTES_MAX => self.too_long(at, found),
            (Rule::Pattern(pattern, written), Value::String(text)) => {
                let fits = self.matches(pattern, text);
                self.told(fits, Format, at, || format!("expected text like the pattern {written}"), found)
            }
            (Rule::Format(format), Value::String(text)) if self.mode == Mode::Output => {
                self.spend(1 + text.len() as u64 / 64);
                self.told(format.has(text), Format, at, || format!("expected {}", format.words()), found)
            }
            (Rule::ItemCount { min, max }, Value::Array(items)) => {
                let is_right = (*min..=*max).contains(&(items.len() as u64));
                self.told(is_right, Other, at, || between(*min, *max, "items"), found)
            }
            (Rule::Unique, Value::Array(items)) => {
                let mut seen = BTreeSet::new();
                let is_unique = items.iter().all(|item| {
                    let text = canonical(item);
                    self.spend(16 + text.len() as u64 / 4) && seen.insert(text)
                });
                self.told(
                    is_unique || self.is_spent(),
                    Other,
                    at,
                    || "expected items that are all different".to_owned(),
                    found,
                )
            }
            (Rule::Contains { node, min, max }, Value::Array(items)) => {
                let (mut fitting, mut open, mut unknown) = (0, 0, None);
                for item in items {
                    match self.tried(*node, item, at, None) {
                        Ok(fits) => fitting += u64::from(fits),
                        Err(why) => (open, unknown) = (open + 1, unknown.or(Some(why))),
                    }
                }
                let range = *min..=*max;
                let may_be = fitting <= *max && fitting + open >= *min;
                let is_sure = range.contains(&fitting) && range.contains(&(fitting + open));
                if let Some(why) = unknown.filter(|_| may_be && !is_sure) {
                    self.give_up(why);
                }
                let is_right = range.contains(&fitting) || self.is_spent();
                self.told(is_right, Other, at, || between(*min, *max, "items of a certain form"), found)
            }
            (Rule::Items { first, rest }, Value::Array(items)) => {
                let mut fits = true;
                for (index, item) in items.iter().enumerate() {
                    let Some(node) = first.get(index).copied().or(*rest) else { break };
                    at.push(Segment::Index(index));
                    fits &= self.locate(node, item, at, found.as_deref_mut());
                    at.pop();
                    if self.is_spent() || (!fits && found.is_none()) {
                        break;
                    }
                }
                fits
            }
            (Rule::UnevaluatedItems(rest), Value::Array(items)) => {
                self.unevaluated_items(node, *rest, value, items, at, found)
            }
            (Rule::FieldCount { min, max }, Value::Object(fields)) => {
                let is_right = (*min..=*max).contains(&(fields.len() as u64));
                self.told(is_right, Other, at, || between(*min, *max, "fields"), found)
            }
            (Rule::Required(names), Value::Object(fields)) => {
                self.spend(names.len() as u64);
                self.tell_missing(names.iter().filter(|name| !fields.contains_key(*name)), at, found)
            }
            (Rule::DependentRequired(all), Value::Object(fields)) => {
                let mut fits = true;
                if self.spend(all.len() as u64) {
                    for (_, needs) in all.iter().filter(|(name, _)| fields.contains_key(name)) {
                        self.spend(needs.len() as u64);
                        let missing = needs.iter().filter(|name| !fields.contains_key(*name));
                        fits &= self.tell_missing(missing, at, found.as_deref_mut());
                    }
                }
                fits
            }
            (Rule::FieldNames(names), Value::Object(fields)) => {
                let mut fits = true;
                for name in fields.keys() {
                    fits &= self.spend(name.len() as u64)
                        && self.judge(*names, &Value::from(name.as_str()), &mut Vec::new(), None);
                }
                self.told(
                    fits || self.is_spent(),
                    Other,
                    at,
                    || "expected names of fields of another form".to_owned(),
                    found,
                )
            }
            (Rule::Fields { named, patterns, rest }, Value::Object(fields)) => {
                let mut fits = true;
                for (name, value) in fields {
                    let mut is_known = false;
                    if let Some(node) = named.get(name) {
                        is_known = true;
                        at.push(Segment::Listed(name));
                        fits &= self.locate(*node, value, at, found.as_deref_mut());
                        at.pop();
                    }
                    for (pattern, node) in patterns {
                        if self.matches(pattern, name) {
                            is_known = true;
                            at.push(Segment::Key(name));
                            fits &= self.locate(*node, value, at, found.as_deref_mut());
                            at.pop();
                        }
                    }
                    if let (false, Some(rest)) = (is_known, rest) {
                        let known = || -> Vec<&'s str> { named.keys().map(String::as_str).collect() };
                        fits &= self.unlisted(*rest, name, value, &known, at, found.as_deref_mut());
                    }
                    if !self.spend(1) || (!fits && found.is_none()) {
                        break;
                    }
                }
                fits
            }
            (Rule::UnevaluatedFields(rest), Value::Object(fields)) => {
                let (schema, nodes) = (self.schema, self.applying(node, value));
                let mut fits = true;
                for (name, value) in fields {
                    if !self.is_evaluated(&nodes, Some(node), name) {
                        let known = || schema.listed(&nodes);
                        fits &= self.unlisted(*rest, name, value, &known, at, found.as_deref_mut());
                    }
                    if !self.spend(1) || (!fits && found.is_none()) {
                        break;
                    }
                }
                fits
            }
            (Rule::DependentSchemas(all), Value::Object(fields)) => {
                let mut fits = true;
                self.spend(all.len() as u64);
                for (_, node) in all.iter().filter(|(name, _)| fields.contains_key(name)) {
                    fits &= self.judge(*node, value, at, found.as_deref_mut());
                }
                fits
            }
            (Rule::All(nodes), _) => {
                let mut fits = true;
                for node in nodes {
                    fits &= self.judge(*node, value, at, found.as_deref_mut());
                    if self.is_spent() || (!fits && found.is_none()) {
                        break;
                    }
                }
                fits
            }
            (Rule::Any(nodes), _) => self.alternatives(nodes, value, at, found),
            (Rule::One(nodes), _) if self.mode == Mode::Output => self.alternatives(nodes, value, at, found),
            (Rule::One(nodes), _) => {
                let (mut fitting, mut unknown) = (0, None);
                for node in nodes {
                    match self.tried(*node, value, at, None) {
                        Ok(fits) => fitting += u64::from(fits),
                        Err(why) => unknown = unknown.or(Some(why)),
                    }
                }
                if let Some(why) = unknown.filter(|_| fitting < 2) {
                    self.give_up(why);
                    return true;
                }
                if fitting == 0 {
                    return self.alternatives(nodes, value, at, found);
                }
                let expected = || "expected exactly one of the alternatives, and several fit".to_owned();
                self.told(fitting == 1 || self.is_spent(), Other, at, expected, found)
            }
            (Rule::Not(other), _) => {
                let is_other = self.judge(*other, value, at, None) && !self.is_spent();
                self.told(!is_other, Other, at, || "expected something else than what is excluded".to_owned(), found)
            }
            (Rule::If { condition, then, otherwise }, _) => {
                let next = if self.judge(*condition, value, at, None) { then } else { otherwise };
                next.is_none_or(|node| self.judge(node, value, at, found))
            }
            _ => true,
        }
    }

    fn matches(&mut self, pattern: &regex::Regex, text: &str) -> bool {
        if text.len() > PATTERN_TEXT_BYTES_MAX {
            if self.mode == Mode::Input {
                self.give_up(GaveUp::Text(String::new()));
            }
            return self.is_spent();
        }
        self.spend(1 + text.len() as u64 * STEPS_PER_PATTERN_BYTE) && pattern.is_match(text) || self.is_spent()
    }

    /// What is too long for its pattern: nobody knows whether it fits. An input's check ends there, unless another form fits;
    /// of an output it is told.
    fn too_long(&mut self, at: &Place<'_>, found: Option<&mut Found>) -> bool {
        if self.mode == Mode::Input {
            self.give_up(GaveUp::Text(path(Mode::Input, at)));
        }
        let is_over = self.is_spent();
        let expected =
            || format!("expected at most {PATTERN_TEXT_BYTES_MAX} bytes, the limit pattern_text_bytes of its pattern");
        self.told(is_over, DriftKind::Other, at, expected, found)
    }

    /// Tells of what is not right.
    fn told(
        &mut self,
        is_right: bool,
        kind: DriftKind,
        at: &Place<'_>,
        expected: impl FnOnce() -> String,
        found: Option<&mut Found>,
    ) -> bool {
        if let (false, Some(found)) = (is_right, found)
            && self.spend(STEPS_PER_MISFIT)
        {
            found.add(path(found.mode, at), kind, expected(), 1);
        }
        is_right
    }

    fn tell_missing<'n>(
        &mut self,
        missing: impl Iterator<Item = &'n String>,
        at: &Place<'_>,
        mut found: Option<&mut Found>,
    ) -> bool {
        let mut fits = true;
        for name in missing {
            fits = false;
            let Some(found) = found.as_deref_mut().filter(|_| self.spend(STEPS_PER_MISFIT)) else { break };
            let name = shown(name);
            let (mode, mut path) = (found.mode, path(found.mode, at));
            if mode == Mode::Output {
                path = format!("{path}/{}", escaped(&name));
            }
            found.add(path, DriftKind::Missing, format!("the field `{name}` is missing"), 1);
        }
        fits
    }

    /// A field that is not listed, against what the schema says of such.
    fn unlisted<'v>(
        &mut self,
        rest: usize,
        name: &'v str,
        value: &'v Value,
        known: &dyn Fn() -> Vec<&'s str>,
        at: &mut Place<'v>,
        found: Option<&mut Found>,
    ) -> bool {
        if !self.schema.is_never(rest) {
            at.push(Segment::Key(name));
            let fits = self.locate(rest, value, at, found);
            at.pop();
            return fits;
        }
        // What others know of the name was not asked to the end, where there were no steps for it.
        if self.mode == Mode::Output || self.is_spent() {
            return true;
        }
        if let Some(found) = found {
            let known = known();
            let help = match known.as_slice() {
                [] => "there are none".to_owned(),
                names if names.len() <= NAMED_MAX => suggestion(name, names),
                names => suggestion(name, names).split_inclusive(", ").take(NAMED_MAX).collect(),
            };
            let message = format!("unknown field `{}`. {}", key_shown(name), shown(help.trim_end_matches(", ")));
            found.add(path(Mode::Input, at), DriftKind::New, message, 1);
        }
        false
    }

    fn unevaluated_items<'v>(
        &mut self,
        node: usize,
        rest: usize,
        value: &'v Value,
        items: &'v [Value],
        at: &mut Place<'v>,
        mut found: Option<&mut Found>,
    ) -> bool {
        let schema = self.schema;
        let nodes = self.applying(node, value);
        let (mut first, mut forms, mut all) = (0, Vec::new(), false);
        for own in &nodes {
            for rule in &schema.nodes[*own] {
                match rule {
                    Rule::Items { rest: Some(_), .. } => all = true,
                    Rule::Items { first: own, .. } => first = first.max(own.len()),
                    Rule::Contains { node, .. } => forms.push(*node),
                    Rule::UnevaluatedItems(_) if *own != node => all = true,
                    _ => {}
                }
            }
        }
        let mut fits = true;
        for (index, item) in items.iter().enumerate().skip(if all { items.len() } else { first }) {
            if forms.iter().any(|form| self.judge(*form, item, at, None)) {
                continue;
            }
            at.push(Segment::Index(index));
            fits &= self.locate(rest, item, at, found.as_deref_mut());
            at.pop();
            if self.is_spent() || (!fits && found.is_none()) {
                break;
            }
        }
        fits
    }

    /// One of several. Where none fits, what the nearest expects is told.
    fn alternatives<'v>(
        &mut self,
        nodes: &'s [usize],
        value: &'v Value,
        at: &mut Place<'v>,
        found: Option<&mut Found>,
    ) -> bool {
        let (mut fitting, mut unknown) = (None, None);
        for node in nodes {
            match self.tried(*node, value, at, None) {
                Ok(true) => {
                    fitting = Some(*node);
                    break;
                }
                Ok(false) => {}
                Err(why) => unknown = unknown.or(Some(why)),
            }
        }
        if let Some(why) = unknown.filter(|_| fitting.is_none()) {
            self.give_up(why);
            return true;
        }
        let Some(found) = found else { return fitting.is_some() };
        if let Some(fitting) = fitting {
            if self.mode == Mode::Output && !self.is_spent() {
                // It fits; what is new in it is still to be told.
                self.judge(fitting, value, at, Some(found));
            }
            return true;
        }
        let here = path(self.mode, at);
        let mut nearest: Option<(usize, Found)> = None;
        for node in nodes {
            let mut own = Found::new(self.mode);
            // None fits, whatever their patterns say.
            let _ = self.tried(*node, value, at, Some(&mut own));
            // What is of the right kind here comes before what is not, then what differs in the fewest places.
            let is_other = own.misfits().any(|(path, kind, ..)| {
                path == here && matches!(kind, DriftKind::Type | DriftKind::Enum) || is_label(path, &here, kind)
            });
            let distance = own.entries.len() + if is_other { 1_000 } else { 0 };
            if nearest.as_ref().is_none_or(|(least, _)| distance < *least) {
                nearest = Some((distance, own));
            }
        }
        match nearest {
            Some((distance, own)) if distance < 1_000 => {
                for ((path, kind, expected), count) in own.entries {
                    found.add(path, kind, expected, count);
                }
            }
            _ => {
                let mut types = Types::default();
                let mut values = Vec::new();
                self.expectations(nodes, &mut types, &mut values, 0);
                let kind = if values.is_empty() || types.has(value) { DriftKind::Type } else { DriftKind::Enum };
                let mut expected: Vec<String> = types.words().map(str::to_owned).collect();
                if !values.is_empty() {
                    expected.push(one_of(values));
                }
                let expected = match expected.is_empty() {
                    true => "expected one of the alternatives of the schema".to_owned(),
                    false => format!("expected {}", expected.join(" or ")),
                };
                found.add(here, kind, expected, 1);
            }
        }
        false
    }

    /// The types and the values that alternatives allow.
    fn expectations(&mut self, nodes: &'s [usize], types: &mut Types, values: &mut Vec<&'s String>, depth: usize) {
        let schema = self.schema;
        for node in nodes {
            if depth > 8 || !self.spend(1) {
                return;
            }
            let rules = &schema.nodes[*node];
            let has_values = rules.iter().any(|rule| matches!(rule, Rule::Values(_)));
            for rule in rules {
                match rule {
                    Rule::Types(own) if !has_values => types.0 |= own.0,
                    Rule::Values(own) => {
                        values.extend(own.named.iter().take((NAMED_MAX + 1).saturating_sub(values.len())))
                    }
                    Rule::All(inner) | Rule::Any(inner) | Rule::One(inner) => {
                        self.expectations(inner, types, values, depth + 1);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Every node that says something of this value at its place: the node itself and what it is combined of.
    fn applying(&mut self, node: usize, value: &Value) -> Vec<usize> {
        let schema = self.schema;
        let (mut nodes, mut waiting) = (Vec::new(), vec![node]);
        while let Some(node) = waiting.pop() {
            if nodes.contains(&node) || !self.spend(1 + nodes.len() as u64) {
                continue;
            }
            nodes.push(node);
            for rule in &schema.nodes[node] {
                match rule {
                    Rule::All(inner) => waiting.extend(inner),
                    Rule::Any(inner) | Rule::One(inner) => {
                        waiting.extend(inner.iter().filter(|node| self.judge(**node, value, &mut Vec::new(), None)));
                    }
                    Rule::If { condition, then, otherwise } => {
                        if self.judge(*condition, value, &mut Vec::new(), None) {
                            waiting.push(*condition);
                            waiting.extend(then);
                        } else {
                            waiting.extend(otherwise);
                        }
                    }
                    Rule::DependentSchemas(all) => {
                        self.spend(all.len() as u64);
                        let has = |name: &str| value.get(name).is_some();
                        waiting.extend(all.iter().filter(|(name, _)| has(name)).map(|(_, node)| node));
                    }
                    _ => {}
                }
            }
        }
        nodes
    }

    /// Whether one of these nodes knows the field; a schema of what is left over counts, but for that of `but`.
    fn is_evaluated(&mut self, nodes: &[usize], but: Option<usize>, name: &str) -> bool {
        let schema = self.schema;
        for node in nodes {
            for rule in &schema.nodes[*node] {
                let is_known = match rule {
                    Rule::Fields { named, patterns, rest } => {
                        named.contains_key(name)
                            || rest.is_some_and(|rest| self.mode == Mode::Input || !schema.is_never(rest))
                            || patterns.iter().any(|(pattern, _)| self.matches(pattern, name))
                    }
                    Rule::UnevaluatedFields(rest) => {
                        Some(*node) != but && (self.mode == Mode::Input || !schema.is_never(*rest))
                    }
                    _ => false,
                };
                if is_known || !self.spend(1) {
                    return true;
                }
            }
        }
        false
    }

    /// Tells fields that the schema does not list, where it lists any.
    fn tell_new(&mut self, node: usize, value: &Value, fields: &Map<String, Value>, at: &Place<'_>, found: &mut Found) {
        if self.is_spent() {
            return;
        }
        let nodes = self.applying(node, value);
        let lists = |rule: &Rule| matches!(rule, Rule::Fields { named, .. } if !named.is_empty());
        if !nodes.iter().any(|node| self.schema.nodes[*node].iter().any(lists)) {
            return;
        }
        for name in fields.keys() {
            if !self.is_evaluated(&nodes, None, name) && self.spend(STEPS_PER_NEW) {
                let path = format!("{}/{}", path(Mode::Output, at), key_shown(name));
                found.add(path, DriftKind::New, "a field that is not told of".to_owned(), 1);
            }
        }
    }
}

impl Schema {
    fn is_never(&self, node: usize) -> bool {
        matches!(self.nodes[node].as_slice(), [Rule::Never])
    }

    /// The names of fields that these nodes list.
    fn listed(&self, nodes: &[usize]) -> Vec<&str> {
        let rules = nodes.iter().flat_map(|node| &self.nodes[*node]);
        rules
            .filter_map(|rule| match rule {
                Rule::Fields { named, .. } => Some(named.keys().map(String::as_str)),
                _ => None,
            })
            .flatten()
            .collect()
    }
}

/// Whether a misfit is that of a label: a field just below `here` that has only certain values, or none.
fn is_label(path: &str, here: &str, kind: DriftKind) -> bool {
    let below = path.strip_prefix(here).and_then(|rest| rest.strip_prefix('/'));
    kind == DriftKind::Enum && below.is_some_and(|name| !name.contains('/'))
}

/// A place as a JSON Pointer (RFC 6901), as far as it is shown: names have any length, and so has what is inside each other.
fn path(mode: Mode, at: &[Segment<'_>]) -> String {
    let mut out = String::new();
    for segment in at {
        if out.len() > 4 * SHOWN_CHARS_MAX {
            break;
        }
        out.push('/');
        match (mode, segment) {
            (_, Segment::Listed(name)) => out.push_str(&escaped(start(name))),
            (Mode::Input, Segment::Key(name)) => out.push_str(key_shown(name)),
            (Mode::Input, Segment::Index(index)) => out.push_str(&index.to_string()),
            (Mode::Output, Segment::Key(_) | Segment::Index(_)) => out.push('*'),
        }
    }
    shown(&out)
}

/// A key that no schema lists, where it looks like the name of a field. Other keys may be data.
fn key_shown(name: &str) -> &str {
    let looks_like_a_name = name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | '$'))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'));
    if looks_like_a_name { name } else { "*" }
}

/// As much of a name as is shown.
pub(super) fn start(name: &str) -> &str {
    name.char_indices().nth(SHOWN_CHARS_MAX).map_or(name, |(end, _)| &name[..end])
}

/// A key as one segment of a JSON Pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn expected_types(types: Types, value: &Value) -> String {
    let expected: Vec<&str> = types.words().collect();
    format!("expected {}, and it is {}", expected.join(" or "), words(value))
}

/// Allowed values, as many as a sentence bears.
fn one_of<'a>(named: impl IntoIterator<Item = &'a String>) -> String {
    let mut named = named.into_iter().map(String::as_str);
    let told: Vec<&str> = named.by_ref().take(NAMED_MAX).collect();
    let more = if named.next().is_some() { ", …" } else { "" };
    match told.as_slice() {
        [one] if more.is_empty() => (*one).to_owned(),
        all => format!("one of {}{more}", all.join(", ")),
    }
}

fn between(min: u64, max: u64, what: &str) -> String {
    match (min, max) {
        (_, u64::MAX) => format!("expected at least {min} {what}"),
        (0, _) => format!("expected at most {max} {what}"),
        _ => format!("expected {min} to {max} {what}"),
    }
}

fn whole(number: &Number) -> Option<i128> {
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let float = || number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e30);
    whole.or_else(|| float().map(|number| number as i128))
}

fn is_less(one: &Number, other: &Number) -> bool {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one < other,
        _ => one.as_f64() < other.as_f64(),
    }
}

fn is_multiple(number: &Number, unit: &Number) -> bool {
    if let (Some(number), Some(unit)) = (whole(number), whole(unit)) {
        return unit != 0 && number % unit == 0;
    }
    let ratio = number.as_f64().unwrap_or(0.0) / unit.as_f64().unwrap_or(1.0);
    !ratio.is_finite() || (ratio - ratio.round()).abs() <= ratio.abs().max(1.0) * 1e-9
}

/// Steps that comparing with a value counts for.
pub(super) fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => 1 + text.len() as u64 / 64,
        Value::Array(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(name, value)| 1 + name.len() as u64 / 64 + weight(value)).sum::<u64>()
        }
        _ => 1,
    }
}

/// Equality of JSON Schema: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one.as_f64() == other.as_f64(),
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

/// A text that is the same for values that are the same.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) if is_whole(number) => {
            whole(number).map_or_else(|| number.to_string(), |whole| whole.to_string())
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let fields: Vec<String> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}

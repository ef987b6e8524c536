//! One page: its frame, and how text, figures and tables get onto it. What agencies send may hold anything, so that text becomes
//! markup in one way only, and a figure gets here with its exchanges or not at all.

use std::fmt::{self, Display, Write as _};

use super::super::finding::Finding;
use super::super::language::{Language, Text, filled, text, unbroken};
use super::super::limits::DEMONSTRATION;
use super::super::provenance::Provenance;
use super::super::summary::{Cited, Sentence};
use crate::figure::{Figure, Share};

/// Markup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

/// Where a page lies in the report's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    Folder,
}

/// A page, or the part of it that is written.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) language: Language,
    place: Place,
    guides: Guides,
    provenance: &'a mut Provenance,
    out: String,
}

/// What leads those who listen or use keys around a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guides {
    pub(super) lang: &'static str,
    pub(super) skip: &'static str,
    pub(super) skip_table: &'static str,
    pub(super) languages: &'static str,
}

/// What the frame of a page says.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Of the page's own words.
    pub(super) lang: &'static str,
    pub(super) title: &'a str,
    /// Name, language and address of the same page in other words; none of itself.
    pub(super) languages: [(&'static str, &'static str, Option<String>); 3],
    /// The way up: address and name.
    pub(super) up: Option<(String, &'static str)>,
}

/// A table. Its first column names the rows.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) id: String,
    pub(super) caption: Html,
    pub(super) columns: Vec<Html>,
    pub(super) rows: Vec<Row>,
    /// Which cells hold words and no numbers, by position after the name.
    pub(super) worded: &'static [usize],
    /// Sums.
    pub(super) foot: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) id: Option<String>,
    pub(super) name: Html,
    pub(super) cells: Vec<Html>,
}

impl Html {
    /// What was text.
    pub(super) fn text(text: &str) -> Self {
        Self(
            unbroken(text)
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;"),
        )
    }

    /// What this program wrote as markup.
    pub(super) fn markup(markup: String) -> Self {
        Self(markup)
    }

    /// A link.
    pub(super) fn link(to: &str, name: &Self) -> Self {
        Self(format!("<a href=\"{}\">{name}</a>", Self::text(to)))
    }
}

impl Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Row {
    pub(super) fn new(name: Html, cells: Vec<Html>) -> Self {
        Self { id: None, name, cells }
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(language: Language, place: Place, provenance: &'a mut Provenance) -> Self {
        let guides = Guides {
            lang: language.code(),
            skip: SKIP.said(language),
            skip_table: SKIP_TABLE.said(language),
            languages: LANGUAGES.said(language),
        };
        Self { language, place, guides, provenance, out: String::new() }
    }

    /// With guides in the words of a page that is in neither language.
    pub(super) fn guided(self, guides: Guides) -> Self {
        Self { guides, ..self }
    }

    /// The whole file.
    pub(super) fn framed(self, frame: &Frame<'_>) -> String {
        let language = self.language;
        let mut out = format!(
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" lang=\"{}\" href=\"#content\">{}</a>\n<header>\n",
            frame.lang,
            Html::text(frame.title),
            self.guides.lang,
            self.guides.skip,
        );
        if let Some((to, name)) = &frame.up {
            let _ = writeln!(
                out,
                "<nav aria-label=\"{}\">{}</nav>",
                UP.said(language),
                Html::link(to, &Html::text(name))
            );
        }
        let _ = write!(
            out,
            "<nav class=\"languages\" lang=\"{}\" aria-label=\"{}\">",
            self.guides.lang, self.guides.languages
        );
        for (name, lang, to) in &frame.languages {
            let _ = match to {
                Some(to) => write!(
                    out,
                    " <a lang=\"{lang}\" hreflang=\"{lang}\" href=\"{}\">{name}</a>",
                    Html::text(to)
                ),
                None => write!(out, " <span lang=\"{lang}\" aria-current=\"page\">{name}</span>"),
            };
        }
        let _ =
            write!(out, "</nav>\n</header>\n<main id=\"content\" tabindex=\"-1\">\n{}</main>\n", self.out);
        let _ = write!(
            out,
            "<footer lang=\"{}\"><p>{}</p><p>{}</p></footer>\n</body>\n</html>\n",
            language.code(),
            DEMONSTRATION.said(language),
            MADE.said(language)
        );
        out
    }

    pub(super) fn say(&self, text: Text) -> &'static str {
        text.said(self.language)
    }

    /// Its words with markup at their places.
    pub(super) fn fill(&self, words: Text, with: &[&Html]) -> Html {
        let with: Vec<&dyn Display> = with.iter().map(|it| *it as &dyn Display).collect();
        Html(filled(&Html::text(self.say(words)).0, &with))
    }

    pub(super) fn add_markup(&mut self, markup: &str) {
        self.out.push_str(markup);
        self.out.push('\n');
    }

    pub(super) fn title(&mut self, text: &str) {
        let _ = writeln!(self.out, "<h1>{}</h1>", Html::text(text));
    }

    pub(super) fn heading(&mut self, id: &str, words: Text) {
        let _ = writeln!(self.out, "<h2 id=\"{id}\">{}</h2>", Html::text(self.say(words)));
    }

    pub(super) fn subheading(&mut self, words: Text) {
        let _ = writeln!(self.out, "<h3>{}</h3>", Html::text(self.say(words)));
    }

    pub(super) fn paragraph(&mut self, words: Text, with: &[&Html]) {
        let _ = writeln!(self.out, "<p>{}</p>", self.fill(words, with));
    }

    pub(super) fn list(&mut self, tag: ListTag, items: &[Html]) {
        let tag = match tag {
            ListTag::Ordered => "ol",
            ListTag::Unordered => "ul",
        };
        let _ = writeln!(self.out, "<{tag}>");
        items.iter().for_each(|item| {
            let _ = writeln!(self.out, "<li>{item}</li>");
        });
        let _ = writeln!(self.out, "</{tag}>");
    }

    /// A figure, which leads to the exchanges that it rests on. What nobody answered rests on none, and leads nowhere.
    pub(super) fn figure<T>(&mut self, figure: &Figure<T>, show: impl FnOnce(&T) -> String) -> Html {
        let shown = Html::text(&show(figure.value()));
        if figure.exchanges().all().iter().next().is_none() {
            return shown;
        }
        let set = self.provenance.number(figure.exchanges().all());
        Html(format!("<a class=\"f\" href=\"{}#c{set}\">{shown}</a>", self.at(EXCHANGES.said(self.language))))
    }

    pub(super) fn number(&mut self, figure: &Figure<u64>) -> Html {
        let language = self.language;
        self.figure(figure, |number| language.number(*number))
    }

    /// A number, or a dash for what is not known.
    pub(super) fn known(&mut self, figure: &Figure<Option<u64>>) -> Html {
        let language = self.language;
        self.figure(figure, |number| number.map_or_else(|| "—".to_owned(), |it| language.number(it)))
    }

    pub(super) fn percent(&mut self, figure: &Figure<Share>) -> Html {
        let language = self.language;
        self.figure(figure, |share| {
            share.per_thousand().map_or_else(|| "—".to_owned(), |it| language.percent(it))
        })
    }

    /// A sentence with its figures, in its own words.
    pub(super) fn sentence(&mut self, sentence: &Sentence) -> Html {
        self.sentence_in(sentence, self.say(sentence.words))
    }

    /// In a box, if there is one.
    pub(super) fn finding(&mut self, finding: Option<&Finding>) {
        if let Some(finding) = finding {
            let said = self.sentence(finding.sentence.value());
            self.add_markup(&format!("<p class=\"box\">{said}</p>"));
        }
    }

    /// A sentence with its figures in other words, with the same places.
    pub(super) fn sentence_in(&mut self, sentence: &Sentence, template: &str) -> Html {
        let language = self.language;
        let shown = sentence.shown_by(&Html::text(template).0, language, |cited| match cited {
            Cited::Number(figure) => self.number(figure).0,
            Cited::Percent(figure) => self.percent(figure).0,
            Cited::Name(name) => Html::text(name).0,
        });
        Html(shown)
    }

    /// The address of a file at the top of the folder.
    pub(super) fn at(&self, file: &str) -> String {
        match self.place {
            Place::Top => file.to_owned(),
            Place::Folder => format!("../{file}"),
        }
    }

    /// Before it a way past it; around it a region that scrolls by itself, for keyboards too.
    pub(super) fn table(&mut self, table: &Table) {
        let Table { id, caption, columns, rows, worded, foot } = table;
        let _ = write!(
            self.out,
            "<a class=\"skip\" lang=\"{}\" href=\"#{id}-end\">{}</a>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" \
             aria-labelledby=\"{id}-caption\"><table id=\"{id}\"><caption id=\"{id}-caption\"><span>{caption}</span></caption>\n<thead><tr>",
            self.guides.lang, self.guides.skip_table,
        );
        for (at, column) in columns.iter().enumerate() {
            let class = class(at.checked_sub(1), worded);
            let _ = write!(self.out, "<th scope=\"col\"{class}>{column}</th>");
        }
        self.out.push_str("</tr></thead>\n<tbody>\n");
        rows.iter().for_each(|row| self.row(row, worded));
        self.out.push_str("</tbody>");
        if !foot.is_empty() {
            self.out.push_str("\n<tfoot>\n");
            foot.iter().for_each(|row| self.row(row, worded));
            self.out.push_str("</tfoot>");
        }
        let _ = writeln!(self.out, "</table></div><span id=\"{id}-end\" tabindex=\"-1\"></span>");
    }

    fn row(&mut self, row: &Row, worded: &[usize]) {
        let id = row.id.as_ref().map(|id| format!(" id=\"{id}\"")).unwrap_or_default();
        let _ = write!(self.out, "<tr{id}><th scope=\"row\">{}</th>", row.name);
        for (at, cell) in row.cells.iter().enumerate() {
            let _ = write!(self.out, "<td{}>{cell}</td>", class(Some(at), worded));
        }
        self.out.push_str("</tr>\n");
    }
}

/// Of a cell, by its position after the name.
fn class(at: Option<usize>, worded: &[usize]) -> &'static str {
    if at.is_some_and(|at| worded.contains(&at)) { " class=\"t\"" } else { "" }
}

/// Whether the order of a list says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListTag {
    Ordered,
    Unordered,
}

/// Page of the exchanges.
pub(super) const EXCHANGES: Text = text("intercambios.html", "exchanges.html");
const SKIP: Text = text("Saltar al contenido", "Skip to the content");
const SKIP_TABLE: Text = text("Saltar la tabla", "Skip the table");
const UP: Text = text("Volver", "Back");
const LANGUAGES: Text = text("Idioma", "Language");
const MADE: Text = text(
    "Hecho por el planificador con lo que se respondió por la red de intercambio Peabiru. Los mismos datos dan \
     siempre el mismo informe.",
    "Made by the planner from what was answered over the Peabiru road. The same data always give the same report.",
);
const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Exchanges;

    #[test]
    fn what_agencies_send_is_never_markup() {
        assert_eq!(Html::text("<b a=\"&\">").to_string(), "&lt;b a=&quot;&amp;&quot;&gt;");
        let link = Html::link("x\"><script>", &Html::text("a<b"));
        assert_eq!(link.to_string(), "<a href=\"x&quot;&gt;&lt;script&gt;\">a&lt;b</a>");
    }

    #[test]
    fn a_figure_leads_to_its_set_of_exchanges_and_one_without_any_leads_nowhere() {
        let mut provenance = Provenance::default();
        let mut page = Page::new(Language::Spanish, Place::Folder, &mut provenance);
        let first = page.number(&Figure::new(1, Exchanges::row(4)));
        let second = page.number(&Figure::new(1_234, Exchanges::page(9)));
        assert_eq!(first.to_string(), "<a class=\"f\" href=\"../intercambios.html#c0\">1</a>");
        assert_eq!(second.to_string(), "<a class=\"f\" href=\"../intercambios.html#c1\">1.234</a>");
        assert_eq!(page.known(&Figure::new(None, Exchanges::default())).to_string(), "—");
    }
}

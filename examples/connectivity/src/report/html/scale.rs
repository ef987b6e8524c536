//! What a map of districts shows: classes, each with its words and its look. Looks differ in lightness and in pattern, so that
//! neither colours nor a colour printer are needed to tell them apart.

use super::super::language::{Text, text};
use crate::figure::{Figure, Share};
use crate::gap::Gap;

/// A measure in classes.
#[derive(Debug)]
pub(super) struct Scale {
    /// Of the map, in ids.
    pub(super) id: &'static str,
    pub(super) title: Text,
    /// What is counted.
    pub(super) counts: Text,
    pub(super) classes: &'static [Class],
    /// Which class a place is in, by position.
    pub(super) of: fn(&Gap) -> Figure<usize>,
    /// What a place has, for its own label.
    pub(super) share: fn(&Gap) -> Figure<Share>,
}

/// A class.
#[derive(Debug)]
pub(super) struct Class {
    /// In files.
    pub(super) name: &'static str,
    pub(super) words: Text,
    /// Its class in the style sheet.
    pub(super) look: &'static str,
}

/// Where schools are remote: the gap.
pub(super) const REMOTE: Scale = Scale {
    id: "remote",
    title: text(
        "De cada 100 locales escolares, cuántos son remotos, por distrito",
        "Of each 100 school sites, how many are remote, by district",
    ),
    counts: text(
        "Cuenta locales escolares remotos según la regla de arriba sobre todos los del distrito. No mide cobertura de Internet: esa no \
         está publicada por local.",
        "Counts school sites that are remote by the rule above against all of the district. It does not measure Internet coverage: \
         that is not published site by site.",
    ),
    classes: &[
        Class { name: "none", words: text("ninguno", "none"), look: "k0" },
        Class {
            name: "none_known",
            words: text("ninguno conocido; de algunos no se sabe", "none known; of some it is not known"),
            look: "k1",
        },
        Class { name: "below_25_percent", words: text("menos de 25 %", "below 25%"), look: "k2" },
        Class { name: "from_25_percent", words: text("25 a 49 %", "25 to 49%"), look: "k3" },
        Class { name: "from_50_percent", words: text("50 a 74 %", "50 to 74%"), look: "k4" },
        Class { name: "from_75_percent", words: text("75 % o más", "75% or more"), look: "k5" },
        Class {
            name: "no_school_sites",
            words: text("sin locales escolares", "no school sites"),
            look: "k6",
        },
    ],
    of: |gap| {
        remote_share(gap).with(&gap.schools.unknown_remoteness, |share, unknown| match share.per_thousand() {
            None => 6,
            Some(_) if share.part == 0 && unknown.sites == 0 => 0,
            Some(_) if share.part == 0 => 1,
            Some(0..250) => 2,
            Some(250..500) => 3,
            Some(500..750) => 4,
            Some(_) => 5,
        })
    },
    share: remote_share,
};

/// Where data is missing.
pub(super) const UNKNOWN: Scale = Scale {
    id: "unknown",
    title: text(
        "Qué parte de los datos falta, por distrito",
        "Which share of the data is missing, by district",
    ),
    counts: text(
        "Cuenta lo que piden la regla y el plan y nadie dice. De cada escuela: zona, alumnado, coordenadas y si tenía red eléctrica en \
         2014; esto último falta también si la respuesta no se puede leer o si dice que hay electricidad y no de dónde. De cada \
         establecimiento de salud: zona y coordenadas. La conexión de cada local falta siempre y no se cuenta aquí.",
        "Counts what the rule and the plan ask and nobody says. Of each school: zone, pupils, coordinates, and whether it was on the \
         grid in 2014; the last is missing, too, if the answer cannot be read, or says that there is electricity and not from where. \
         Of each health facility: zone and coordinates. The connection of each site is always missing and not counted here.",
    ),
    classes: &[
        Class { name: "below_10_percent", words: text("menos de 10 %", "below 10%"), look: "k0" },
        Class { name: "from_10_percent", words: text("10 a 19 %", "10 to 19%"), look: "k2" },
        Class { name: "from_20_percent", words: text("20 a 29 %", "20 to 29%"), look: "k3" },
        Class { name: "from_30_percent", words: text("30 a 39 %", "30 to 39%"), look: "k4" },
        Class { name: "from_40_percent", words: text("40 % o más", "40% or more"), look: "k5" },
        Class { name: "no_sites", words: text("sin locales", "no sites"), look: "k6" },
    ],
    of: |gap| {
        gap.unknown.map(|share| match share.per_thousand() {
            None => 5,
            Some(0..100) => 0,
            Some(100..200) => 1,
            Some(200..300) => 2,
            Some(300..400) => 3,
            Some(_) => 4,
        })
    },
    share: |gap| gap.unknown.clone(),
};

fn remote_share(gap: &Gap) -> Figure<Share> {
    gap.schools.remote.with(&gap.schools.all, |remote, all| Share { part: remote.sites, whole: all.sites })
}

/// Fills that the style sheet names. Once on a page with maps.
pub(super) const PATTERNS: &str = "<pattern id=\"p1\" width=\"9\" height=\"9\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(-45)\"><rect width=\"9\" height=\"9\" fill=\"#fbf9f5\"/><rect width=\"1.6\" height=\"9\" fill=\"#8a8178\"/>\
    </pattern>\n\
    <pattern id=\"p3\" width=\"12\" height=\"12\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"12\" \
    height=\"12\" fill=\"#f2a45c\"/><rect width=\"2.5\" height=\"12\" fill=\"#8a3c07\"/></pattern>\n\
    <pattern id=\"p4\" width=\"9\" height=\"9\" patternUnits=\"userSpaceOnUse\"><rect width=\"9\" height=\"9\" fill=\"#cf6420\"/><rect \
    width=\"2.5\" height=\"9\" fill=\"#6d2303\"/><rect width=\"9\" height=\"2.5\" fill=\"#6d2303\"/></pattern>\n\
    <pattern id=\"p6\" width=\"14\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"14\" height=\"8\" fill=\"#fff\"/><rect \
    width=\"8\" height=\"1.5\" fill=\"#6b645c\"/></pattern>\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::Count;
    use crate::receive::Accepted;

    fn nothing() -> Gap {
        Gap::nothing(&Accepted::default(), &Default::default())
    }

    #[test]
    fn each_class_begins_where_its_words_say() {
        let class = |remote, unknown, all| {
            let count = |sites| Figure::new(Count { sites, ..Count::default() }, Default::default());
            let mut gap = nothing();
            gap.schools.remote = count(remote);
            gap.schools.unknown_remoteness = count(unknown);
            gap.schools.all = count(all);
            REMOTE.classes[*(REMOTE.of)(&gap).value()].words.en
        };
        let expected = [
            ((0, 0, 9), "none"),
            ((0, 1, 9), "none known; of some it is not known"),
            ((1, 0, 1_000), "below 25%"),
            ((1, 5, 4), "25 to 49%"),
            ((1, 0, 2), "50 to 74%"),
            ((3, 0, 4), "75% or more"),
            ((0, 0, 0), "no school sites"),
        ];
        for ((remote, unknown, all), words) in expected {
            assert_eq!(class(remote, unknown, all), words);
        }
        let unknown = |part, whole| {
            let unknown = Figure::new(Share { part, whole }, Default::default());
            let gap = Gap { unknown, ..nothing() };
            UNKNOWN.classes[*(UNKNOWN.of)(&gap).value()].words.en
        };
        assert_eq!([unknown(1, 10), unknown(4, 10), unknown(0, 0)], ["10 to 19%", "40% or more", "no sites"]);
    }
}

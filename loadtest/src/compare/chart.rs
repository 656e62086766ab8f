//! `chart.svg`: the four figures that say most, as bars.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    Color, DrawingArea, IntoDrawingArea, IntoFont, RGBColor, Rectangle, SVGBackend, Text, WHITE,
};
use plotters::style::TextStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::compare::comparison::{Comparison, Row};
use crate::compare::figures::Results;
use crate::compare::servers::Server;
use crate::compare::summary::{Heading, quantity};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const SIZE: (u32, u32) = (1000, 600);
const HEADING_PIXELS: u32 = 70;
const MARGIN: i32 = 20;
/// Where a panel's first bar begins, below its titles.
const BARS_TOP: i32 = 62;
const BAR_STEP: i32 = 38;
const BAR_HEIGHT: i32 = 24;
/// For the servers' names, left of the bars, and for the values, right of them.
const NAMES_PIXELS: i32 = 165;
const VALUES_PIXELS: i32 = 110;

const INK: RGBColor = RGBColor(32, 38, 46);
const FAINT: RGBColor = RGBColor(105, 114, 125);
const OWN: RGBColor = RGBColor(14, 116, 144);
const REFERENCE: RGBColor = RGBColor(71, 85, 105);
const PEER: RGBColor = RGBColor(180, 190, 201);

pub(super) fn draw(path: &Path, heading: &Heading, results: &Results) -> Result<(), String> {
    let comparison = heading.comparison;
    let draw = || -> Drawn {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, body) = root.split_vertically(HEADING_PIXELS);
        let place = (MARGIN, 16);
        text(&head, comparison.title, place, style(26, INK))?;
        let how = format!("{}; one core a server, loopback", heading.line());
        text(&head, &how, (MARGIN, 46), style(16, FAINT))?;
        for (area, (row, title, note)) in body.split_evenly((2, 2)).iter().zip(&comparison.panels) {
            text(area, title, (MARGIN, 8), style(20, INK))?;
            text(area, note, (MARGIN, 32), style(15, FAINT))?;
            bars(area, row, comparison, results)?;
        }
        root.present()?;
        Ok(())
    };
    draw().map_err(|error| format!("drawing {}: {error}", path.display()))
}

fn bars(area: &Area<'_>, row: &Row, comparison: &Comparison, results: &Results) -> Drawn {
    let value = |server| Some((server, results.value(row, server)?));
    let values: Vec<(Server, f64)> = comparison.servers.iter().copied().filter_map(value).collect();
    let longest = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let left = MARGIN + NAMES_PIXELS;
    let room = area.dim_in_pixel().0 as i32 - left - VALUES_PIXELS;
    for (top, (server, value)) in (BARS_TOP..).step_by(BAR_STEP as usize).zip(values) {
        let middle = top + BAR_HEIGHT / 2;
        // A bar that cannot be seen would look like one that is missing.
        let width = (f64::from(room) * value / longest).round().max(2.0) as i32;
        let color = match server {
            Server::Tidegate => OWN,
            _ if server == comparison.reference => REFERENCE,
            _ => PEER,
        };
        area.draw(&Rectangle::new(
            [(left, top), (left + width, top + BAR_HEIGHT)],
            color.filled(),
        ))?;
        let name = style(17, INK).pos(Pos::new(HPos::Right, VPos::Center));
        text(area, &server.label_with_streams(), (left - 8, middle), name)?;
        let number = style(17, INK).pos(Pos::new(HPos::Left, VPos::Center));
        text(area, &quantity(value, ""), (left + width + 8, middle), number)?;
    }
    Ok(())
}

fn style(size: u32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color)
}

fn text(area: &Area<'_>, what: &str, place: (i32, i32), style: TextStyle<'static>) -> Drawn {
    area.draw(&Text::new(what.to_owned(), place, style))?;
    Ok(())
}

//! The results as a picture: a bar a runner, as long as the logarithm of its rows a second.

use super::compare::{Comparison, Outcome};
use super::report::Report;
use super::targets::{BARE, OWN};

/// Sizes in pixels.
const WIDTH: f64 = 860.0;
const NAMES: f64 = 150.0;
const FIGURES: f64 = 90.0;
const TOP: f64 = 64.0;
const BAR: f64 = 14.0;
const BAR_STEP: f64 = 18.0;
const TITLE: f64 = 26.0;
const GAP: f64 = 14.0;
const BOTTOM: f64 = 24.0;

/// Colours for light and for dark surroundings; the picture itself is transparent.
const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600; fill: #111 } .small { font-size: 11px; fill: #666 }
  .own { fill: #0a7ea4 } .bare { fill: none; stroke: #888; stroke-dasharray: 3 2 } .peer { fill: #b9b9b9 }
  .grid { stroke: #8884 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ccc } .title { fill: #fff } .small { fill: #999 }
    .own { fill: #4cc2e6 } .bare { stroke: #999 } .peer { fill: #666 }
  }
";

/// The powers of ten between which all bars end.
struct Scale {
    least: i32,
    most: i32,
}

impl Scale {
    fn new(results: &[Comparison]) -> Scale {
        let powers = || results.iter().flat_map(rates).map(|(_, rate)| rate.log10());
        let least = powers().fold(f64::INFINITY, f64::min).floor();
        let most = powers().fold(f64::NEG_INFINITY, f64::max).ceil();
        // Without any result there is nothing to draw, but a picture all the same.
        let finite = |power: f64, otherwise: i32| if power.is_finite() { power as i32 } else { otherwise };
        let (least, most) = (finite(least, 6), finite(most, 7));
        Scale { least: least.min(most - 1), most }
    }

    /// Where a rate stands, from the left.
    fn x(&self, rate: f64) -> f64 {
        let share = (rate.log10() - f64::from(self.least)) / f64::from(self.most - self.least);
        NAMES + share.clamp(0.004, 1.0) * (WIDTH - NAMES - FIGURES)
    }
}

/// The runners that were measured, with their rows a second.
fn rates(result: &Comparison) -> impl Iterator<Item = (&Outcome, f64)> {
    let rate = |outcome: &Outcome| outcome.series().map(|series| series.rows_per_second());
    result.results.iter().filter_map(move |outcome| Some((outcome, rate(outcome)?)))
}

/// The picture.
pub fn svg(report: &Report) -> String {
    let scale = Scale::new(&report.workloads);
    let mut y = TOP;
    let mut groups = String::new();
    for result in &report.workloads {
        groups.push_str(&group(result, &scale, &mut y));
    }
    let (height, grid) = (y + BOTTOM, grid(&scale, y));
    let million_bids = report.events as f64 * 0.92 / 1e6;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"8\" y=\"20\">riverrun: rows a second, one thread (logarithmic)</text>\n\
         <text class=\"small\" x=\"8\" y=\"38\">{million_bids:.2} million bids from {}, medians of {} runs in turns</text>\n\
         {grid}{groups}</svg>\n",
        report.from, report.reps
    )
}

/// A line for each power of ten, with its name.
fn grid(scale: &Scale, bottom: f64) -> String {
    let line = |power: i32| {
        let x = scale.x(10_f64.powi(power));
        let name = short(10_f64.powi(power));
        format!(
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>\n",
            bottom + 14.0
        )
    };
    (scale.least..=scale.most).map(line).collect()
}

fn group(result: &Comparison, scale: &Scale, y: &mut f64) -> String {
    let mut group = format!(
        "<text x=\"8\" y=\"{:.1}\"><tspan class=\"title\">{}</tspan> <tspan class=\"small\">{}</tspan></text>\n",
        *y + 14.0,
        escaped(&result.workload.name),
        // The rest is in the documents; here it would leave the picture.
        escaped(result.workload.title.split([':', '.']).next().unwrap_or_default())
    );
    *y += TITLE;
    for (outcome, rate) in rates(result) {
        group.push_str(&bar(&outcome.runner, rate, scale, *y));
        *y += BAR_STEP;
    }
    *y += GAP;
    group
}

fn bar(runner: &str, rate: f64, scale: &Scale, y: f64) -> String {
    let class = match runner {
        OWN => "own",
        BARE => "bare",
        _ => "peer",
    };
    let (end, base) = (scale.x(rate), y + BAR - 3.0);
    format!(
        "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\
         <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>\n",
        NAMES - 8.0,
        escaped(runner),
        end - NAMES,
        end + 6.0,
        short(rate)
    )
}

/// A number of rows a second, short.
fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e8 => format!("{:.0} M/s", rate / 1e6),
        rate if rate >= 1e6 => format!("{} M/s", trimmed(rate / 1e6)),
        rate => format!("{} k/s", trimmed(rate / 1e3)),
    }
}

/// Three digits at most.
fn trimmed(number: f64) -> String {
    let digits = if number >= 100.0 { 0 } else { 1 };
    let text = format!("{number:.digits$}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        let shown = [1.0e7, 4.84e7, 5.9e8, 2.5e6, 420_000.0].map(short);
        assert_eq!(shown, ["10 M/s", "48.4 M/s", "590 M/s", "2.5 M/s", "420 k/s"]);
    }

    #[test]
    fn a_picture_of_nothing_is_a_picture() {
        let report = Report { events: 0, reps: 0, from: "memory", workloads: vec![], findings: vec![] };
        assert!(svg(&report).ends_with("</svg>\n"));
    }
}

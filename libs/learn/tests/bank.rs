//! Bank marketing (CC BY 4.0; Moro, Cortez, Rita 2014) in date order: does learning help?
//!
//! Test-then-train over ten consecutive chunks, without `duration` (known only after the
//! call): the learning model, the same model frozen after the first chunk, the base rate of
//! the first chunk, and the frozen weights under live recalibration. Labels are known at once
//! or 1,000 rows late. The defaults of `Settings` were chosen on the rows of the split `train` alone.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers and tables of tests")]

use std::path::Path;

use learn::metrics::{Outcome, auc, base_rate, calibration_error, log_loss, top_conversion};
use learn::{Example, FeatureValue, Features, Model};

const CHUNKS: usize = 10;

struct Row {
    example: Example,
    train: bool,
}

fn rows() -> Vec<Row> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/bank-marketing/bank-full.csv");
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    reader.records().map(|record| row(&header, &record.unwrap())).collect()
}

fn row(header: &csv::StringRecord, record: &csv::StringRecord) -> Row {
    let mut features = Vec::new();
    let (mut label, mut train) = (false, false);
    for (name, value) in header.iter().zip(record) {
        match name {
            "row_id" | "duration" => {}
            "y" => label = value == "yes",
            "split" => train = value == "train",
            // Never contacted before.
            "pdays" if value == "-1" => {}
            "age" | "balance" | "day" | "campaign" | "pdays" | "previous" => {
                let number = FeatureValue::Number(value.parse().unwrap());
                features.push((name.to_owned(), number));
            }
            _ => features.push((name.to_owned(), FeatureValue::Category(value.to_owned()))),
        }
    }
    let features = Features::new(features).unwrap();
    Row { example: Example { features, label, weight: 1.0 }, train }
}

fn outcome(probability: f64, example: &Example) -> Outcome {
    Outcome { probability, label: example.label }
}

/// Mean over the chunks, weighted equally.
fn mean(chunks: &[Vec<Outcome>], measure: impl Fn(&[Outcome]) -> Option<f64>) -> f64 {
    let values: Vec<f64> = chunks.iter().filter_map(|chunk| measure(chunk)).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// What learning, frozen, base rate and recalibrated said of each chunk after the first, if
/// labels come `delay` rows late.
fn replay(rows: &[Row], delay: usize) -> [Vec<Vec<Outcome>>; 4] {
    let size = rows.len().div_ceil(CHUNKS);
    let known = &rows[..size - delay];
    let mut learning = Model::default();
    known.iter().for_each(|row| learning.learn(&row.example));
    let frozen = learning.clone();
    let mut recalibrated = learning.clone();
    let yes = known.iter().filter(|row| row.example.label).count();
    let base = yes as f64 / known.len() as f64;
    let mut late = rows[size - delay..].iter().map(|row| &row.example);
    let mut said: [Vec<Vec<Outcome>>; 4] = Default::default();
    for chunk in rows[size..].chunks(size) {
        let mut of_chunk: [Vec<Outcome>; 4] = Default::default();
        for Row { example, .. } in chunk {
            of_chunk[0].push(outcome(learning.probability(&example.features), example));
            of_chunk[1].push(outcome(frozen.probability(&example.features), example));
            of_chunk[2].push(outcome(base, example));
            of_chunk[3].push(outcome(recalibrated.probability(&example.features), example));
            let labelled = late.next().unwrap();
            learning.learn(labelled);
            recalibrated.recalibrate(labelled);
        }
        for (chunks, chunk) in said.iter_mut().zip(of_chunk) {
            chunks.push(chunk);
        }
    }
    said
}

fn top_decile(outcomes: &[Outcome]) -> Option<f64> {
    top_conversion(outcomes, 0.1)
}

fn print_table(said: &[Vec<Vec<Outcome>>; 4]) {
    println!(
        "chunk  base  | AUC learning frozen | ECE learning frozen base | top 10 % learning frozen"
    );
    let shown = |measured: Option<f64>| measured.map_or("-".to_owned(), |x| format!("{x:.3}"));
    let chunks = said[0].iter().zip(&said[1]).zip(&said[2]);
    for (number, ((learning, frozen), base)) in chunks.enumerate() {
        println!(
            "{:5}  {} |     {}    {}  |     {}    {}  {} |     {}    {}",
            number + 2,
            shown(base_rate(learning)),
            shown(auc(learning)),
            shown(auc(frozen)),
            shown(calibration_error(learning)),
            shown(calibration_error(frozen)),
            shown(calibration_error(base)),
            shown(top_decile(learning)),
            shown(top_decile(frozen)),
        );
    }
    for (name, chunks) in ["learning", "frozen", "base rate", "recalibr."].iter().zip(said) {
        let pooled: Vec<Outcome> = chunks.concat();
        println!(
            "{name:9} mean in chunk: AUC {:.4} ECE {:.4} top decile {:.4}; pooled: AUC {:.4} ECE {:.4} log-loss {:.4}",
            mean(chunks, auc),
            mean(chunks, calibration_error),
            mean(chunks, top_decile),
            auc(&pooled).unwrap(),
            calibration_error(&pooled).unwrap(),
            log_loss(&pooled).unwrap(),
        );
    }
}

#[test]
fn in_date_order_learning_beats_the_frozen_model() {
    let rows = rows();
    assert_eq!(rows.len(), 36_330);
    let said = replay(&rows, 0);
    print_table(&said);
    let [learning, frozen, base, recalibrated] = &said;
    for worse in [frozen, base] {
        assert!(mean(learning, calibration_error) < mean(worse, calibration_error));
        assert!(calibration_error(&learning.concat()) < calibration_error(&worse.concat()));
        assert!(mean(learning, auc) >= mean(worse, auc));
        assert!(mean(learning, top_decile) >= mean(worse, top_decile));
        assert!(log_loss(&learning.concat()) < log_loss(&worse.concat()));
    }
    // Goals: calibration error <= .05 and AUC within a chunk >= .65.
    assert!(mean(learning, calibration_error) <= 0.05 && mean(learning, auc) >= 0.65);
    // Recalibration alone mends the probabilities and leaves the ranking at each moment.
    assert!(mean(recalibrated, calibration_error) < mean(frozen, calibration_error));
    assert!(log_loss(&recalibrated.concat()) < log_loss(&frozen.concat()));
}

#[test]
fn learning_still_helps_when_labels_come_a_thousand_rows_late() {
    let said = replay(&rows(), 1_000);
    print_table(&said);
    let [learning, frozen, ..] = &said;
    assert!(mean(learning, calibration_error) < mean(frozen, calibration_error));
    assert!(mean(learning, auc) >= mean(frozen, auc));
    assert!(log_loss(&learning.concat()) < log_loss(&frozen.concat()));
}

#[test]
fn one_pass_over_the_random_split_ranks_as_well_as_batch_regression() {
    let (mut train, test): (Vec<_>, Vec<_>) = rows().into_iter().partition(|row| row.train);
    // In a mixed order, as the split is: in date order the model would, rightly, end up
    // fitted to the last months.
    let mixed = |place: usize| (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut place = 0;
    train.sort_by_cached_key(|_| {
        place += 1;
        mixed(place)
    });
    let mut model = Model::default();
    train.iter().for_each(|row| model.learn(&row.example));
    let said: Vec<_> = test
        .iter()
        .map(|row| outcome(model.probability(&row.example.features), &row.example))
        .collect();
    let area = auc(&said).unwrap();
    println!("random split, one pass: AUC {area:.4} on {} rows", said.len());
    assert!(area >= 0.775, "{area}");
}

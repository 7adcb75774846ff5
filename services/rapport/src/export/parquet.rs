//! Parquet: row groups of at most [`GROUP`] rows, which is what is held in memory; Snappy; times
//! as UTC microseconds, amounts as decimals.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use anyhow::Context as _;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray,
    FixedLenByteArrayType, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::table::{Cell, Column, Kind, Row};

const GROUP: usize = 8_192;
/// Bytes of an amount, and its digits.
const AMOUNT_BYTES: i32 = 16;
const AMOUNT_DIGITS: i32 = 38;
const AMOUNT_PLACES: i32 = 9;

/// A file that is being written.
pub(crate) struct Parquet {
    writer: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Parquet {
    pub(crate) fn new(file: File, columns: &[Column]) -> anyhow::Result<Self> {
        let fields: Result<Vec<Arc<Type>>, _> = columns.iter().map(field).collect();
        let schema = Type::group_type_builder("rapport").with_fields(fields?).build()?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = BufWriter::new(file);
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { writer, columns: columns.to_vec(), rows: Vec::with_capacity(GROUP) })
    }

    pub(crate) fn write(&mut self, row: Row) -> anyhow::Result<()> {
        self.rows.push(row);
        if self.rows.len() == GROUP { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for (number, column) in self.columns.iter().enumerate() {
            let mut writer = group.next_column()?.context("a column is missing")?;
            let cells = self.rows.iter().map(|row| row.get(number).unwrap_or(&Cell::Empty));
            write_column(&mut writer, column.kind, cells)
                .with_context(|| format!("column {}", column.name))?;
            writer.close()?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.write_group()?;
        let file = self.writer.into_inner()?;
        let file = file.into_inner().ok().context("the end was not written")?;
        Ok(file.sync_all()?)
    }
}

fn field(column: &Column) -> parquet::errors::Result<Arc<Type>> {
    let primitive = |physical| {
        Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL)
    };
    let micros = LogicalType::timestamp(true, TimeUnit::MICROS);
    let built = match column.kind {
        Kind::Text => {
            primitive(Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)).build()
        }
        Kind::Whole => primitive(Physical::INT64).build(),
        Kind::Number => primitive(Physical::DOUBLE).build(),
        Kind::Flag => primitive(Physical::BOOLEAN).build(),
        Kind::Time => primitive(Physical::INT64).with_logical_type(Some(micros)).build(),
        Kind::Amount => primitive(Physical::FIXED_LEN_BYTE_ARRAY)
            .with_length(AMOUNT_BYTES)
            .with_logical_type(Some(LogicalType::decimal(AMOUNT_PLACES, AMOUNT_DIGITS)))
            .with_precision(AMOUNT_DIGITS)
            .with_scale(AMOUNT_PLACES)
            .build(),
    };
    built.map(Arc::new)
}

fn write_column<'c>(
    writer: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = &'c Cell>,
) -> anyhow::Result<()> {
    match kind {
        Kind::Text => put::<ByteArrayType>(writer, cells, |cell| match cell {
            Cell::Text(text) => Some(ByteArray::from(text.as_bytes().to_vec())),
            _ => None,
        }),
        Kind::Whole => put::<Int64Type>(writer, cells, |cell| match cell {
            Cell::Whole(number) => Some(*number),
            _ => None,
        }),
        Kind::Number => put::<DoubleType>(writer, cells, |cell| match cell {
            Cell::Number(number) => Some(*number),
            _ => None,
        }),
        Kind::Flag => put::<BoolType>(writer, cells, |cell| match cell {
            Cell::Flag(flag) => Some(*flag),
            _ => None,
        }),
        Kind::Time => put::<Int64Type>(writer, cells, |cell| match cell {
            Cell::Time(us) => Some(*us),
            _ => None,
        }),
        Kind::Amount => put::<FixedLenByteArrayType>(writer, cells, |cell| match cell {
            Cell::Amount(nanos) => Some(FixedLenByteArray::from(nanos.to_be_bytes().to_vec())),
            _ => None,
        }),
    }
}

/// The values that are there, and for each row whether it has one.
fn put<'c, T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'c Cell>,
    value: impl Fn(&Cell) -> Option<T::T>,
) -> anyhow::Result<()> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for cell in cells {
        let value = value(cell);
        levels.push(i16::from(value.is_some()));
        values.extend(value);
    }
    writer.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}

"""Files of public sources are read as they stand, or refused with what was recognised and the option that helps."""

import gzip
import io
import random
import zipfile

import numpy as np
import pandas as pd
import pytest

from fts.data.bars import BadBars
from fts.data.layouts import ReadOptions
from fts.data.sources import bundled_sp500, take_closes, take_file
from tests.data.layouts import ISO, LAYOUTS, PLAIN, P, levels, lines, sample

BARS = sample(bundled_sp500())


def write(folder, content, name="bars.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path, **reading):
    with pytest.raises(BadBars) as error:
        take_file(path, ReadOptions(**reading))
    sentence = str(error.value)
    assert sentence.startswith(f"{path.name}: ") and "\n" not in sentence, sentence
    return sentence


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_of_a_public_source_gives_the_same_bars(tmp_path, layout):
    taken = take_file(write(tmp_path, LAYOUTS[layout](BARS)))
    pd.testing.assert_frame_equal(taken.bars, BARS, check_freq=False, check_index_type=False)
    assert taken.findings == ()


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._bars.csv", b"\0")
        archive.writestr("folder/bars.csv", data)
    return packed.getvalue()


@pytest.mark.parametrize("layout", list(LAYOUTS)[::6])
@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("bars.csv.gz", gzip.compress),
        ("bars.zip", zipped),
        ("bars.csv", lambda data: data if data[:2] in (b"\xff\xfe", b"\xef\xbb") else b"\xef\xbb\xbf" + data),
        ("bars.txt", lambda data: data if data[:2] == b"\xff\xfe" else data.decode("utf-8-sig").encode("utf-16-be")),
    ],
)
def test_a_layout_survives_marks_encodings_and_compression(tmp_path, layout, name, pack):
    few = BARS.iloc[:100]
    content = LAYOUTS[layout](few)
    data = content if isinstance(content, bytes) else content.encode()
    taken = take_file(write(tmp_path, pack(data), name))
    pd.testing.assert_frame_equal(taken.bars, few, check_freq=False, check_index_type=False)


JUNK = (
    b",",
    b";",
    b'"',
    b"\n",
    b"\0",
    b"\xff",
    b"#",
    b"-",
    b"(",
    b"1e999",
    b"null",
    b"Date",
    b"Ticker",
    b"9" * 30,
    b"",
)


def damaged(data: bytearray, rng: random.Random) -> bytes:
    """One to four places overwritten, cut out, doubled or the end cut off."""
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(data) + 1)
        i = min(i, 300) if rng.random() < 0.5 else i  # the header decides most
        data[i : i + rng.choice((0, 0, 1, 30))] = rng.choice(
            (*JUNK, bytes(data[i : i + 200]), bytes([rng.randrange(256)]))
        )
        if rng.random() < 0.1:
            del data[i:]
    return bytes(data)


def damage_everywhere(folder, seed: int, times: int) -> None:
    """Damaged files are read or refused in one sentence, and nothing else is raised."""
    rng = random.Random(seed)
    for _ in range(times):
        content = LAYOUTS[rng.choice(list(LAYOUTS))](BARS.iloc[:40])
        path = write(folder, damaged(bytearray(content if isinstance(content, bytes) else content.encode()), rng))
        try:
            assert "\n" not in "".join(take_file(path).lines())
        except BadBars as error:
            assert str(error).startswith("bars.csv: ") and "\n" not in str(error)


def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path):
    damage_everywhere(tmp_path, 0, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_thousand_damaged_files_each_are_read_or_refused(tmp_path, seed):
    damage_everywhere(tmp_path, seed, 1000)


def test_one_of_several_tickers_is_chosen_by_its_name(tmp_path):
    path = write(tmp_path, levels(BARS, "AAPL", "MSFT"))
    assert "2 stocks (AAPL, MSFT); choose one with --name AAPL" in refusal(path)
    assert "no stock is called 'GOOG'; the file has AAPL, MSFT" in refusal(path, name="GOOG")
    pd.testing.assert_frame_equal(take_file(path, ReadOptions(name="MSFT")).bars, BARS * 2, check_freq=False)


def many(*names, order="stock"):
    table = pd.concat([(BARS * (1 + i)).assign(Name=name) for i, name in enumerate(names)]).reset_index()
    return table if order == "stock" else table.sort_values(["Date", "Name"])


@pytest.mark.parametrize("order", ["stock", "date"])
@pytest.mark.parametrize("column", ["Name", "Symbol", "ticker"])
def test_one_of_several_stocks_is_chosen_by_its_name(tmp_path, order, column):
    table = many("AAPL", "MSFT", order=order).rename(columns={"Name": column})
    path = write(tmp_path, table.to_csv(index=False))
    sentence = refusal(path)
    assert "2 stocks (AAPL, MSFT); choose one with --name AAPL" in sentence and "sort" not in sentence
    taken = take_file(path, ReadOptions(name="msft"))
    assert taken.layout.name == "MSFT"
    pd.testing.assert_frame_equal(taken.bars, BARS * 2, check_freq=False)


@pytest.mark.parametrize("order", ["stock", "date"])
def test_several_stocks_below_an_unknown_name_are_never_sorted_together(tmp_path, order):
    table = many("AAPL", "MSFT", order=order).rename(columns={"Name": "Firma"})
    path = write(tmp_path, table.to_csv(index=False))
    sentence = refusal(path)
    assert (
        "several stocks" in sentence and "--columns name='Firma' --name 'AAPL'" in sentence and "sort" not in sentence
    )
    taken = take_file(path, ReadOptions(columns={"name": "Firma"}, name="AAPL"))
    pd.testing.assert_frame_equal(taken.bars, BARS, check_freq=False)
    nameless = write(tmp_path, table.drop(columns="Firma").to_csv(index=False))
    assert "several stocks" in refusal(nameless) and "sort" not in refusal(nameless)


def test_days_and_months_that_nothing_tells_apart_are_ambiguous(tmp_path):
    early = BARS[BARS.index.day <= 12]
    for form in ("%d/%m/%Y", "%m-%d-%Y", "%d.%m.%Y"):
        path = write(tmp_path, lines(early, PLAIN, "{d:" + form + "}," + P + ",{Volume:.0f}"))
        sentence = refusal(path)
        assert "day and month are ambiguous" in sentence and "sort" not in sentence
        assert f"--date-format {form}" in sentence or f"or {form}" in sentence
        pd.testing.assert_frame_equal(take_file(path, ReadOptions(date_format=form)).bars, early, check_freq=False)
    assert take_file(path, ReadOptions(date_format="dd.mm.yyyy")).bars.index.equals(early.index)


def test_a_file_with_both_orders_of_day_and_month_names_a_row_of_each(tmp_path):
    text = f"{PLAIN}\n13/01/2018,1,2,1,1,5\n01/15/2018,1,2,1,1,5\n"
    sentence = refusal(write(tmp_path, text))
    assert "row 1 has the day first ('13/01/2018')" in sentence and "row 2 the month ('01/15/2018')" in sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("31/02/2018,1,2,1,1,5", ["'31/02/2018' is not a date"]),
        ("soon,1,2,1,1,5", ["row 1", "'soon' is not a date", "--date-format"]),
        ("7,1,2,1,1,5", ["7 is a number", "--date-format"]),
        ("2018-01-02,1,2,1,1,5\n03/01/2018,1,2,1,1,5", ["has another form than"]),
        ("2018-01-02,1,2,1,n/a,5", ["row 1 (2018-01-02)", "column Close", "'n/a'"]),
        ("2018-01-02,1,2,(1.2),1,5", ["column Low", "price is -1.2"]),
        ("2018-01-02,-,2,1,1,5", ["column Open", "'-'"]),
        ("2018-01-02,1,2,1,1,5\n2018-01-02,1,2,1,1,5", ["is there twice"]),
        ("2018-01-02,1,2,1,1,5\n2018-01-02,3,4,3,3,5", ["twice with different prices", "rows 1 and 2"]),
        ("2018-01-03,1,2,1,1,5\n2018-01-02,1,2,1,1,5\n2018-01-04,1,2,1,1,5", ["sort the rows"]),
        ("2018-01-02,1,234.50,1,240.00,1,230.00,1,239.00,5", ["row 1 has 10 cells, the header 6"]),
        ("2018-01-02,\"1,234\",\"1,240\",\"1,230\",\"1,235\",5", ["'1,230' may be 1230 or 1.230", "--decimal"]),
        ("2018-01-02,\"1,234.5\",\"1.240,5\",\"1,230\",\"1,235\",5", ["decimal point", "decimal comma"]),
        ("2018-01-02,1,2,1", ["column Close"]),
        ("2018-01-02,1,2,1,1,5\n2018-01-03,1,2,1,1,\"5\n2018-01-04,1,2,1,1,5", ["cannot be read as csv"]),
        ("2018-01-02 09:30,1,2,1,1,5\n2018-01-02 10:30,3,4,3,3,5", ["bars of less than a day", "keep one row"]),
        ("", ["0 rows"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, text, words):
    sentence = refusal(write(tmp_path, f"{PLAIN}\n{text}\n"))
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b'{"Note": "25 requests per day"}', "is JSON"),
        (b"PK\x03\x04 broken", "cannot be unpacked"),
        (b"\x1f\x8bbroken", "damaged"),
        (b"\xd0\xcf\x11\xe0xls", "is an Excel workbook"),
        (b"BZh91AY", "bzip2"),
        (b"%PDF-1.4", "is a PDF"),
        (b"PAR1broken", "cannot be read as parquet"),
        (b"Date,Open\n2018-01-02,\0\0\0\0\0\0\n", "line 2 holds zero bytes"),
        (b"just a sentence\n", "no line names the columns"),
        (b"a,b,c\n1,2,3\n", "no line names the columns"),
        (b"Date,Open,High\n2018-01-02,1,2\n", "column Low, Close is missing"),
        (b"Date,First,High,Low,Final,Volume\n2018-01-02,1,2,1,1,5\n", "--columns open=...,close=..."),
        (b"date,open,high,low,close,Volume BTC,Volume USD\n2018-01-02,1,2,1,1,5,6\n", "--columns 'volume=Volume BTC'"),
    ],
)
def test_a_file_that_is_something_else_says_what_it_is(tmp_path, data, words):
    assert words in refusal(write(tmp_path, data))


def test_zips_of_several_or_encrypted_files_are_refused(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    assert "the zip holds 2 files (a.csv, b.csv), expected one" in refusal(write(tmp_path, packed.getvalue(), "x.zip"))
    single = io.BytesIO()
    with zipfile.ZipFile(single, "w") as archive:
        archive.writestr("a.csv", "x")
    data = bytearray(single.getvalue())
    for start in (6, data.index(b"PK\x01\x02") + 8):
        data[start] |= 1
    assert "the zip is encrypted" in refusal(write(tmp_path, bytes(data), "x.zip"))


def test_columns_are_taken_as_asked_and_unknown_ones_are_refused_with_those_there_are(tmp_path):
    header = "Tag,Erst,Oben,Unten,Ende,Menge"
    path = write(tmp_path, lines(BARS, header, f"{ISO},{P},{{Volume:.0f}}"))
    asked = {"open": "Erst", "high": "Oben", "low": "unten", "close": "Ende", "volume": "Menge"}
    pd.testing.assert_frame_equal(take_file(path, ReadOptions(columns=asked)).bars, BARS, check_freq=False)
    sentence = refusal(path, columns=asked | {"close": "Schluss"})
    assert "no column 'Schluss' for close" in sentence and "the columns are" in sentence and "Ende" in sentence


def test_columns_of_a_file_without_a_header_are_asked_for_by_number(tmp_path):
    path = write(
        tmp_path, lines(BARS, "", "{Close:.2f};{d:%Y-%m-%d};{Open:.2f};{High:.2f};{Low:.2f};{Volume:.0f}").lstrip()
    )
    asked = {"date": "2", "open": "3", "high": "4", "low": "5", "close": "1", "volume": "6"}
    pd.testing.assert_frame_equal(take_file(path, ReadOptions(columns=asked)).bars, BARS, check_freq=False)


def test_the_adjusted_close_scales_the_whole_bar_when_it_is_asked_for(tmp_path):
    split = BARS.copy()
    split.iloc[200:, :4] /= 2
    factor = np.where(np.arange(len(BARS)) < 200, 0.5, 1.0)
    table = split.assign(**{"Adj Close": split["Close"] * factor})
    path = write(tmp_path, table.to_csv())
    plain = take_file(path)
    assert plain.layout.adjusted.startswith("not adjusted: Adj Close differs from Close by up to 100%")
    assert [finding.kind for finding in plain.findings] == ["splits"]
    taken = take_file(path, ReadOptions(columns={"close": "Adj Close"}))
    assert taken.findings == () and "scaled" in taken.layout.notes[0]
    pd.testing.assert_frame_equal(taken.bars.iloc[:, :4], BARS.iloc[:, :4] / 2, check_freq=False)


def test_prices_in_a_stated_decimal_sign(tmp_path):
    text = f"{PLAIN}\n" + "".join(
        f'{d},"1,234","1,240","1,230","1,235",5{i}\n' for i, d in enumerate(("2018-01-02", "2018-01-03"))
    )
    path = write(tmp_path, text)
    assert take_file(path, ReadOptions(decimal=".")).bars["Close"].tolist() == [1235.0, 1235.0]
    assert take_file(path, ReadOptions(decimal=",")).bars["Close"].tolist() == [1.235, 1.235]


@pytest.mark.parametrize(
    ("cell", "value"), [("1.2M", 1.2e6), ("3.45B", 3.45e9), ("7K", 7e3), ("1,234,567", 1234567.0), ("12 345", 12345.0)]
)
def test_volumes_as_people_write_them(tmp_path, cell, value):
    path = write(tmp_path, f'{PLAIN}\n2018-01-02,1.5,2.5,1.5,1.5,"{cell}"\n2018-01-03,1.5,2.5,1.5,1.5,7\n')
    assert take_file(path).bars["Volume"].iloc[0] == pytest.approx(value)


def test_days_without_any_price_are_left_out_and_told(tmp_path):
    table = BARS.astype(object)
    table.iloc[[7, 90]] = "null"
    taken = take_file(write(tmp_path, table.to_csv()))
    assert len(taken.bars) == len(BARS) - 2
    assert taken.layout.notes == (f"2 days without any price left out, the first {BARS.index[7]:%Y-%m-%d}",)


def test_rows_are_counted_as_they_stand_in_the_file(tmp_path):
    text = lines(BARS, PLAIN, f"{ISO},{P},{{Volume:.0f}}", True).split("\n")
    text[10] = text[10].rsplit(",", 2)[0] + ",x,5"
    assert f"row 10 ({BARS.index[-10]:%Y-%m-%d}), column Close: value is 'x'" in refusal(
        write(tmp_path, "\n".join(text))
    )


def test_parquet_in_other_shapes(tmp_path):
    two = pd.concat({"SPX": BARS}, axis=1).swaplevel(axis=1)
    shapes = {
        "levels": two,
        "levels reset": two.reset_index(),
        "newest first": BARS.iloc[::-1].reset_index(),
        "a time zone": BARS.tz_localize("America/New_York"),
        "text": BARS.reset_index().astype(str),
        "dates as numbers": BARS.reset_index(drop=True).assign(t=BARS.index.astype("datetime64[ms]").astype("int64")),
        "float32 volume": BARS.assign(Volume=BARS["Volume"].astype("int64")),
    }
    for name, frame in shapes.items():
        frame.to_parquet(tmp_path / "x.parquet")
        found = take_file(tmp_path / "x.parquet").bars
        pd.testing.assert_frame_equal(found, BARS, check_freq=False, check_index_type=False, obj=name)
    many("AAPL", "MSFT").set_index(["Name", "Date"]).to_parquet(tmp_path / "x.parquet")
    assert "choose one with --name AAPL" in refusal(tmp_path / "x.parquet")
    assert take_file(tmp_path / "x.parquet", ReadOptions(name="MSFT")).bars.equals(BARS * 2)


def test_the_vix_of_its_exchange_and_of_the_federal_reserve(tmp_path):
    for text in (
        "DATE,OPEN,HIGH,LOW,CLOSE\n01/30/1990,17.24,17.24,17.24,17.24\n01/31/1990,18.19,18.19,18.19,18.19\n",
        "observation_date,VIXCLS\n1990-01-30,17.24\n1990-01-31,18.19\n1990-02-01,.\n",
    ):
        assert take_closes(write(tmp_path, text)).bars["Close"].tolist() == [17.24, 18.19]


def test_a_header_in_an_unknown_language_is_named_and_its_columns_can_be_given(tmp_path):
    path = write(
        tmp_path,
        lines(BARS, "날짜,종가,시가,고가,저가,거래량", f"{ISO},{{Close}},{{Open}},{{High}},{{Low}},{{Volume}}"),
    )
    assert "the columns are Date, 종가, 시가" in refusal(path)
    korean = {"date": "날짜", "close": "종가", "open": "시가", "high": "고가", "low": "저가", "volume": "거래량"}
    numbers = {"date": "1", "close": "2", "open": "3", "high": "4", "low": "5", "volume": "6"}
    for columns in (korean, numbers):
        taken = take_file(path, ReadOptions(columns=columns))
        pd.testing.assert_frame_equal(taken.bars, BARS, check_freq=False, check_index_type=False)


@pytest.mark.parametrize(("start", "stop"), [(0, 400), (150, 260)])
def test_days_and_months_that_a_spreadsheet_changed_round_are_not_to_be_sorted(tmp_path, start, stop):
    turned = [
        f"{d:%Y-%d-%m}" if d.day < 13 and start <= i < stop else f"{d:%Y-%m-%d}" for i, d in enumerate(BARS.index)
    ]
    path = write(tmp_path, BARS.set_axis(turned).to_csv(index_label="Date"))
    sentence = refusal(path)
    assert "day and month are exchanged" in sentence and "sort" not in sentence

"""Recordings of accelerometer and gyroscope."""

from types import MappingProxyType

from pandagpt_core.modalities.builtin.writing import MEDIA, SAMPLES, one_line
from pandagpt_core.modalities.entry import Entry, Number, Recipe, Selection

_MOTION_UNITS = ("m/s2", "g", "rad/s", "deg/s", "m/s2 rad/s", "m/s2 deg/s", "g rad/s", "g deg/s")
RATE = Number("rate_hz", "rows a second, where nothing in the file tells it", 1, 1e5, "Hz")
IMU = Entry(
    name="imu",
    label="motion recording",
    formats=one_line("""
        tables of text (comma, semicolon, tab, blanks; decimal comma; quotes; comments; UTF-8,
        UTF-16), JSON (rows, records, records a line, columns, Sensor Logger), .npy, zip of one
        table a sensor (phyphox, Sensor Logger); Parquet; MATLAB (5 to 7.3) and HDF5 of a matrix a
        sensor or a vector a channel; the text files of UCI HAR, zipped
    """),
    reads=one_line("""
        names of columns: sensor, axis, unit; times (s, ms, us, ns, ISO 8601, dates as 01.05.2024
        12:00:00), which give the rate; rate and units in comments or fields; of several
        accelerometers the one with gravity; empty cells and NaN are no reading; two statements
        that differ are refused
    """),
    about="a recording of accelerometer and gyroscope",
    recipes=(
        Recipe(
            "imu-v1",
            f"{MEDIA}.motion.imu",
            "resampled",
            "[1, 6, 2000]",
            "the middle five seconds at 400 Hz; a shorter one is repeated",
            reading=5,
        ),
    ),
    sample=(SAMPLES, "recording"),
    sample_params=MappingProxyType({"rate_hz": 50.0}),
    parameters=(
        RATE,
        Selection(
            "units",
            "of the sensors, where the names of the columns do not tell them",
            _MOTION_UNITS,
            otherwise="what the names say, else m/s2 rad/s",
        ),
    ),
    limits=("bytes", "table_bytes", "imu_rows", "elements"),
    mime=MappingProxyType({".csv": "text/csv"}),
    named=(".npy", ".json", ".jsonl", ".txt", ".tsv", ".zip", ".parquet", ".mat", ".h5", ".hdf5"),
)

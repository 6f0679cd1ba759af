"""Sales whose prices are decimals."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from tenfold import Events

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


class Sale:
    sale_id: str
    shop: str
    price: Annotated[Decimal, 2] | None
    at: datetime


sales = Events("sales", Sale, time="at", id="sale_id")


def sale(place, price, **changed):
    return {
        "sale_id": f"s{place}",
        "shop": "a",
        "price": price,
        "at": AT + timedelta(minutes=place),
    } | changed

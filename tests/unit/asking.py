"""Asks an application in this process over HTTP."""

import asyncio

import httpx

BODY = {"content-type": "application/json"}


def asked(api, path, method="POST", *, token=None, content=b"{}", client="127.0.0.1", **headers):
    """Return the response of an application to one request."""
    given = BODY | {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["authorization"] = f"Bearer {token}"

    async def send():
        transport = httpx.ASGITransport(app=api, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as there:
            return await there.request(method, path, content=content, headers=given)

    return asyncio.run(send())

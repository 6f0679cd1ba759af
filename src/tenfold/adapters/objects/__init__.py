"""Model files in an object store such as S3, for people on several machines (extra `objects`)."""

from tenfold.adapters.objects.blobs import ObjectBlobs as ObjectBlobs

__all__ = ["ObjectBlobs"]

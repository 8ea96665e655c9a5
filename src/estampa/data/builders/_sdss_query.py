"""What SkyServer is asked for: the SQL of each page, in one query or two.

From data release 8 on, zooSpec (Galaxy Zoo 1 table 2) stands beside that release's photometry: one query a page joins
them. Release 7, whose photometry Galaxy Zoo was made with, has no zooSpec: its pages are two queries, the votes from
release 17 with the DR7 ids that zooSpec gives, and the DR7 photometry of the same stretch of ids, joined here. SQL is
kept short: SkyServer refuses addresses whose query is longer than 2,048 characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from estampa.data.builders._sdss_columns import FLAGS, VOTES, photometry

VOTES_RELEASE = 17  #: whose zooSpec is joined to the photometry of release 7
RELEASES = range(7, 20)
_VOTES = ",".join(f"v.{name}" for name in (*VOTES, *FLAGS))
_JOINED = "zooSpec AS v JOIN PhotoObjAll AS p ON p.objID=v.objid"


@dataclass(frozen=True)
class Query:
    """One question to SkyServer. Where the first column is `objid`, rows come in its order."""

    name: str  #: for messages
    release: int
    sql: str
    columns: tuple[str, ...]  #: that the answer must have
    after: int = 0  #: ids are above this one
    most: int = 0  #: rows at most


@dataclass(frozen=True)
class Catalogue:
    """The catalogue of one data release in these bands."""

    release: int
    bands: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the Dataset's table."""
        return ("ra", "dec", "redshift", *VOTES, *photometry(self.bands))

    @property
    def sql(self) -> dict[str, str]:
        """Texts of the queries, with {most}, {after}, {first}, {last} where a page's numbers go.

        "count": how many galaxies there are; "page": the next {most} above the DR7 id {after}, all of each in a joined
        release, else votes alone; "photometry", where it is not joined: the objects with spectra from one id to
        another.
        """
        measured = ",".join(photometry(self.bands))
        table = "zooSpec AS v" if self.release == 7 else _JOINED
        end = "WHERE v.dr7objid>{after} ORDER BY v.dr7objid"
        count = f"SELECT COUNT(*) AS n FROM {table} WHERE v.dr7objid>0"
        if self.release == 7:
            page = f"SELECT TOP {{most}} v.dr7objid AS objid,{_VOTES} FROM {table} {end}"
            beside = (
                f"SELECT p.objID AS objid,p.ra,p.dec,s.z AS redshift,{measured} FROM SpecObj AS s JOIN PhotoObjAll "
                "AS p ON p.objID=s.bestObjID WHERE s.bestObjID>={first} AND s.bestObjID<={last} ORDER BY s.bestObjID"
            )
            return {"count": count, "page": page, "photometry": beside}
        page = (
            f"SELECT TOP {{most}} v.dr7objid AS objid,p.ra,p.dec,s.z AS redshift,{_VOTES},{measured} FROM {table} "
            f"LEFT JOIN SpecObjAll AS s ON s.specObjID=v.specobjid {end}"
        )
        return {"count": count, "page": page}

    @property
    def votes_release(self) -> int:
        """Release whose zooSpec is asked."""
        return VOTES_RELEASE if self.release == 7 else self.release

    def count(self) -> Query:
        """How many galaxies there are."""
        return Query("count of galaxies", self.votes_release, self.sql["count"], ("n",))

    def page(self, number: int, after: int, most: int) -> Query:
        """The next `most` galaxies above the DR7 id `after`."""
        measured = () if self.release == 7 else photometry(self.bands)
        places = () if self.release == 7 else ("ra", "dec", "redshift")
        sql = self.sql["page"].format(most=most, after=after)
        columns = ("objid", *places, *VOTES, *FLAGS, *measured)
        return Query(f"page {number} (objid > {after})", self.votes_release, sql, columns, after, most)

    def beside(self, number: int, first: int, last: int) -> Query | None:
        """DR7 photometry of the objects with spectra from one DR7 id to another; None in a joined release."""
        if self.release != 7:
            return None
        sql = self.sql["photometry"].format(first=first, last=last)
        name = f"photometry of page {number} (objid {first} to {last})"
        return Query(name, 7, sql, ("objid", "ra", "dec", "redshift", *photometry(self.bands)), first - 1)

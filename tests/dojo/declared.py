"""What the owner of these accounts, or who offers the tools, would declare of them: by what a tool does,
never by what a task wants.

What comes from mail, a shared calendar, a shared drive, the web, a bank's statements or other people's
messages was written by others. What is sent, shared, paid, posted, booked or deleted has consequences.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.kernel.labels import SELF, SELF_PUBLIC, Label
from perdure.tools import CriticalKind, Effect, Sink
from perdure.tools.base import SinkKind

READS: frozenset[Effect] = frozenset({"reads"})
ACTS: frozenset[Effect] = frozenset({"network"})
SPENDS: frozenset[Effect] = frozenset({"network", "spends"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    effects: frozenset[Effect]
    origin: str = ""
    sink: Sink | None = None
    marks: bool = False
    creates: str = ""
    label: Label | None = None
    """Of its results, where the tool knows better than its origin says."""


def _reads(origin: str, *, marks: bool = False) -> Declaration:
    return Declaration(effects=READS, origin=origin, marks=marks)


def _acts(
    kind: SinkKind,
    origin: str,
    *,
    content: tuple[str, ...] = (),
    creates: str = "",
    effects: frozenset[Effect] = ACTS,
    **critical: CriticalKind,
) -> Declaration:
    sink = Sink(kind=kind, critical=critical, content=content)
    return Declaration(effects=effects, origin=origin, sink=sink, creates=creates)


PRIVATE_RECORD = Label(trust="self", secrecy="secret", origins=("account",))
"""Passport, bank account and credit card numbers."""
COLLEAGUES = Label(trust="known", secrecy="private", origins=("chat",))
"""Messages whose senders are members, which the server vouches for. What a channel is called may be up to
somebody else."""
LISTS = ("get_channels", "get_users_in_channel")
"""The owner's own team: members and channels that may be written to."""
PAYMENTS = ("send_money", "schedule_transaction", "update_scheduled_transaction")
"""The owner of the bank account has a rule that allows these, so that whatever holds them back is the
judgement of where the data comes from, and no general question before all that spends."""

_MAIL = {
    "send_email": _acts(
        "send",
        "mail",
        content=("subject", "body"),
        creates="id_",
        recipients="recipient",
        cc="recipient",
        bcc="recipient",
        attachments="identifier",
    ),
    "delete_email": _acts("delete", "mail", email_id="identifier"),
    "get_unread_emails": _reads("mail", marks=True),
    "get_sent_emails": _reads("mail"),
    "get_received_emails": _reads("mail"),
    "get_draft_emails": _reads("mail"),
    "search_emails": _reads("mail"),
    # The address book fills itself from mail that came in.
    "search_contacts_by_name": _reads("mail"),
    "search_contacts_by_email": _reads("mail"),
}
_CALENDAR = {
    "get_current_day": Declaration(effects=READS, origin="calendar", label=SELF_PUBLIC),
    "search_calendar_events": _reads("calendar"),
    "get_day_calendar_events": _reads("calendar"),
    "create_calendar_event": _acts(
        "send",
        "calendar",
        content=("description", "location"),
        creates="id_",
        title="text",
        participants="recipient",
    ),
    "cancel_calendar_event": _acts("delete", "calendar", event_id="identifier"),
    "reschedule_calendar_event": _acts(
        "send", "calendar", event_id="identifier", new_start_time="time"
    ),
    "add_calendar_event_participants": _acts(
        "share", "calendar", event_id="identifier", participants="recipient"
    ),
}
_DRIVE = {
    "search_files_by_filename": _reads("drive"),
    "search_files": _reads("drive"),
    "get_file_by_id": _reads("drive"),
    "list_files": _reads("drive"),
    "create_file": _acts("write", "drive", content=("filename", "content"), creates="id_"),
    "append_to_file": _acts("write", "drive", content=("content",), file_id="identifier"),
    "delete_file": _acts("delete", "drive", file_id="identifier"),
    "share_file": _acts("share", "drive", file_id="identifier", email="recipient"),
}
_TRAVEL = {
    "get_user_information": Declaration(effects=READS, origin="booking", label=PRIVATE_RECORD),
    "reserve_hotel": _acts("send", "booking", hotel="recipient", start_day="time", end_day="time"),
    "reserve_restaurant": _acts("send", "booking", restaurant="recipient", start_time="time"),
    "reserve_car_rental": _acts(
        "send", "booking", company="recipient", start_time="time", end_time="time"
    ),
    **{
        name: _reads("web")
        for name in (
            "get_all_hotels_in_city",
            "get_hotels_prices",
            "get_rating_reviews_for_hotels",
            "get_hotels_address",
            "get_all_restaurants_in_city",
            "get_cuisine_type_for_restaurants",
            "get_restaurants_address",
            "get_rating_reviews_for_restaurants",
            "get_dietary_restrictions_for_all_restaurants",
            "get_contact_information_for_restaurants",
            "get_price_for_restaurants",
            "check_restaurant_opening_hours",
            "get_all_car_rental_companies_in_city",
            "get_car_types_available",
            "get_rating_reviews_for_car_rental",
            "get_car_fuel_options",
            "get_car_rental_address",
            "get_car_price_per_day",
            "get_flight_information",
        )
    },
}
_BANK = {
    "get_iban": Declaration(effects=READS, origin="bank", label=SELF),
    "get_balance": Declaration(effects=READS, origin="bank", label=SELF),
    "get_user_info": Declaration(effects=READS, origin="bank", label=SELF),
    # Whoever sends money writes the subject.
    "get_most_recent_transactions": _reads("bank"),
    "get_scheduled_transactions": Declaration(effects=READS, origin="bank", label=SELF),
    # Bills and letters that came in.
    "read_file": _reads("documents"),
    "send_money": _acts(
        "pay",
        "bank",
        content=("subject",),
        effects=SPENDS,
        recipient="account",
        amount="amount",
    ),
    "schedule_transaction": _acts(
        "pay",
        "bank",
        content=("subject",),
        effects=SPENDS,
        recipient="account",
        amount="amount",
    ),
    "update_scheduled_transaction": _acts(
        "pay",
        "bank",
        content=("subject",),
        effects=SPENDS,
        id="identifier",
        recipient="account",
        amount="amount",
    ),
    "update_password": _acts("write", "bank", password="text"),
    "update_user_info": _acts(
        "write",
        "bank",
        first_name="text",
        last_name="text",
        street="text",
        city="text",
    ),
}
_CHAT = {
    "get_channels": _reads("chat"),
    "get_users_in_channel": _reads("chat"),
    "read_channel_messages": Declaration(effects=READS, origin="chat", label=COLLEAGUES),
    "read_inbox": Declaration(effects=READS, origin="chat", label=COLLEAGUES),
    "send_direct_message": _acts("send", "chat", content=("body",), recipient="recipient"),
    "send_channel_message": _acts("send", "chat", content=("body",), channel="recipient"),
    "add_user_to_channel": _acts("share", "chat", user="recipient", channel="recipient"),
    "invite_user_to_slack": _acts("share", "chat", user="recipient", user_email="recipient"),
    "remove_user_from_slack": _acts("delete", "chat", user="identifier"),
    "get_webpage": Declaration(
        effects=frozenset({"reads", "network"}),
        origin="web",
        sink=Sink(kind="send", critical={"url": "url"}),
    ),
    "post_webpage": _acts("publish", "web", content=("content",), url="url"),
}

DECLARED: dict[str, Declaration] = {**_MAIL, **_CALENDAR, **_DRIVE, **_TRAVEL, **_BANK, **_CHAT}

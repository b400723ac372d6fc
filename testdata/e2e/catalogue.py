"""What is asked: the GET requests for one data folder, made from the rows of its webui.db.

The rows decide, not the answers of a server, so that a request is made for everything the source holds and a list that
comes back too short cannot hide what it left out.
"""
import pathlib
import sqlite3
from urllib.parse import quote

API = "/api/v1"

# Asked as every user: what the application itself asks for on its pages.
EVERYBODY = """
auths/ chats/?page=1 chats/?page=2 chats/list?page=1 chats/list?page=1&include_folders=true&include_pinned=true
chats/pinned chats/all chats/all/tags chats/all/archived chats/archived?page=1 chats/archived/count chats/shared?page=1
folders/ folders/shared notes/ notes/?page=1 notes/pinned notes/search channels/ channels/list files/ files/count
files/user/count knowledge/?page=1 knowledge/search prompts/ prompts/list?page=1 prompts/tags tools/ tools/list models/list
skills/ skills/list memories/ groups/ evaluations/feedbacks/user calendars/
users/user/settings users/user/info users/user/variables users/groups users/permissions
""".split()

ADMIN = """
users/?page=1 users/all users/default/permissions auths/admin/config auths/admin/details chats/all/db functions/ functions/list
functions/export configs/export configs/connections configs/models configs/banners configs/tool_servers configs/code_execution
evaluations/config evaluations/feedbacks/all/ids evaluations/feedbacks/all/export evaluations/feedbacks/list?page=1
evaluations/feedbacks/models evaluations/leaderboard models/all models/base models/base/tags models/export models/tags tools/export
skills/export automations/list
retrieval/config retrieval/embedding tasks/config images/config audio/config files/search?filename=*
analytics/summary analytics/models analytics/users analytics/messages
""".split()

# Chat search folds case differently in the two databases (SQLite: ASCII only), so the words that hold letters outside
# ASCII are from scripts without case.
WORDS = ["migration", "policy", "数据库", "迁移", "ファイル", "مثال", "दस्तावेज़", "🚀", "tag:work", "folder:Sub", "zzz-nothing"]


class Source:
    """Read-only view of one webui.db."""

    def __init__(self, data_dir):
        self.dir = pathlib.Path(data_dir)
        self.db = sqlite3.connect(f"file:{quote(str(self.dir / 'webui.db'))}?mode=ro", uri=True)

    def rows(self, query, *values):
        return self.db.execute(query, values).fetchall()

    def users(self):
        """(id, e-mail, role) of everybody who may sign in and is let in, administrators first."""
        return self.rows("SELECT id, email, role FROM user WHERE role IN ('admin', 'user') ORDER BY role, email")


def requests(source):
    """Yields (e-mail, path) for every GET, in a fixed order."""
    users = source.users()
    admins = [email for _, email, role in users if role == "admin"]
    yield from (("", path) for path in ("/api/config", "/api/version", "/manifest.json"))
    for user, email, _ in users:
        for path in EVERYBODY:
            yield email, f"{API}/{path}"
        yield email, "/api/models"
        yield from ((email, path) for path in own(source, user))
    for path in ADMIN:
        yield admins[0], f"{API}/{path}"
    yield from ((admins[0], path) for path in shared(source))


def own(source, user):
    """What belongs to one user."""
    for (chat,) in source.rows("SELECT id FROM chat WHERE user_id = ? ORDER BY id", user):
        yield f"{API}/chats/{chat}"
        yield f"{API}/chats/{chat}/tags"
    for (folder,) in source.rows("SELECT id FROM folder WHERE user_id = ? ORDER BY id", user):
        yield f"{API}/folders/{folder}"
        yield f"{API}/chats/folder/{folder}"
        yield f"{API}/chats/folder/{folder}/list?page=1"
    for (note,) in source.rows("SELECT id FROM note WHERE user_id = ? ORDER BY id", user):
        yield f"{API}/notes/{note}"
    for (file,) in source.rows("SELECT id FROM file WHERE user_id = ? ORDER BY id", user):
        yield f"{API}/files/{file}"
        yield f"{API}/files/{file}/content"
        yield f"{API}/files/{file}/data/content"
    for word in WORDS:
        yield f"{API}/chats/search?text={quote(word)}"
    yield f"{API}/search?q={quote('数据库')}"
    yield f"{API}/users/{user}/profile/image"


def shared(source):
    """What administrators see of everybody."""
    ids = lambda table: [row[0] for row in source.rows(f'SELECT id FROM "{table}" ORDER BY id')]
    for channel in ids("channel"):
        yield f"{API}/channels/{channel}"
        yield f"{API}/channels/{channel}/members"
        yield f"{API}/channels/{channel}/webhooks"
        yield f"{API}/channels/{channel}/messages?limit=100"
        yield f"{API}/channels/{channel}/messages/pinned"
    for message, channel in source.rows("SELECT id, channel_id FROM message ORDER BY id"):
        yield f"{API}/channels/{channel}/messages/{message}"
    for message, channel in source.rows("SELECT DISTINCT parent_id, channel_id FROM message WHERE parent_id IS NOT NULL ORDER BY 1"):
        yield f"{API}/channels/{channel}/messages/{message}/thread"
    for base in ids("knowledge"):
        yield f"{API}/knowledge/{base}"
        yield f"{API}/knowledge/{base}/files?page=1"
    for group in ids("group"):
        yield f"{API}/groups/id/{group}"
        yield f"{API}/groups/id/{group}/export"
    for tool in ids("tool"):
        for part in ("", "/valves", "/history"):
            yield f"{API}/tools/id/{tool}{part}"
    for function in ids("function"):
        for part in ("", "/valves", "/history"):
            yield f"{API}/functions/id/{function}{part}"
    for model in ids("model"):
        yield f"{API}/models/model?id={quote(model)}"
        yield f"{API}/models/model/history?id={quote(model)}"
    for prompt in ids("prompt"):
        yield f"{API}/prompts/id/{prompt}"
        yield f"{API}/prompts/id/{prompt}/history"
    for skill in ids("skill"):
        yield f"{API}/skills/id/{skill}"
        yield f"{API}/skills/id/{skill}/history"
    for feedback in ids("feedback"):
        yield f"{API}/evaluations/feedback/{feedback}"
    for event in ids("calendar_event"):
        yield f"{API}/calendars/events/{event}"
    for automation in ids("automation"):
        yield f"{API}/automations/{automation}"
    for (share,) in source.rows("SELECT id FROM shared_chat ORDER BY id"):
        yield f"{API}/chats/share/{share}"
    for user, _, _ in source.users():
        yield f"{API}/chats/list/user/{user}?page=1"
        yield f"{API}/users/{user}"
    speech = source.dir / "cache" / "audio" / "speech"
    for file in sorted(speech.iterdir()) if speech.is_dir() else []:
        yield f"/cache/audio/speech/{quote(file.name)}"


def knowledge_bases(source):
    return [row[0] for row in source.rows("SELECT id FROM knowledge ORDER BY id")]

#!/usr/bin/env python3
"""People at work: threads that write through Open WebUI's HTTP API, each request drawn from a seed and timed.

    writer.py URL DATA_DIR      four people write until the server is gone; then says how many requests were answered

Every person touches only what is their own, so that no request depends on what another did first.
"""
import json
import pathlib
import random
import sys
import threading
import time
import uuid

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import compare

WORDS = ("migration database vector chunk policy holiday Übergröße naïve 数据库 迁移 ファイル مثال दस्तावेज़ 🚀 postgres index "
         "backup restore budget contract invoice résumé security").split()
PEOPLE = [("ada.admin@example.com", True), ("user1@example.com", True), ("user2@example.com", False), ("user3@example.com", False)]
# The longest pause of one person between two requests, in seconds.
PAUSE = 0.06


class Person(threading.Thread):
    """One signed-in user who writes until the event stopped is set. Answers go to log: (seconds, phase, what, status)."""

    def __init__(self, server, email, admin, seed, phase, stopped):
        super().__init__(daemon=True)
        self.server, self.email, self.phase, self.stopped = server, email, phase, stopped
        self.random = random.Random(f"{seed} {email}")
        self.log, self.refused, self.failure = [], [], None
        self.chats, self.folders, self.notes, self.memories, self.files, self.bases = {}, [], [], [], [], {}
        common = [self.new_chat, self.append, self.append, self.edit_message, self.drop_message, self.rename, self.archive, self.tag,
                  self.untag, self.move, self.drop_chat, self.new_folder, self.drop_folder, self.new_note, self.change_note,
                  self.drop_note, self.new_memory, self.new_memory, self.change_memory, self.drop_memory, self.settings,
                  self.upload, self.rewrite_file, self.drop_file]
        self.acts = common + ([self.new_base, self.add_to_base, self.add_to_base, self.remove_from_base, self.drop_base] if admin else [])

    def run(self):
        try:
            while not self.stopped.is_set():
                self.random.choice(self.acts)()
                time.sleep(self.random.random() * PAUSE)
        except Exception as error:  # the judge reports it: a thread must not end unseen
            self.failure = f"{type(error).__name__}: {error}"

    def call(self, what, method, path, body=None, form=None):
        """One timed request; the answer's JSON, or None when it was refused."""
        phase, began = self.phase[0], time.monotonic()
        status, _, answer = self.server.ask(self.email, "/api/v1/" + path, body, method, form)
        self.log.append((time.monotonic() - began, phase, what, status))
        if status >= 300:
            self.refused.append(f"{method} {path}: {status} {answer[:200].decode(errors='replace')}")
            return None
        return json.loads(answer)

    def words(self, least, most):
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(least, most)))

    def one(self, things):
        things = list(things)
        return self.random.choice(things) if things else None

    # chats: {id: [folder, ids of messages, the last of them, tags]}

    def turn(self, parent):
        question, answer = (str(uuid.UUID(int=self.random.getrandbits(128), version=4)) for _ in range(2))
        now = int(time.time())
        return answer, {
            question: {"id": question, "parentId": parent, "childrenIds": [answer], "role": "user", "content": self.words(3, 30),
                       "timestamp": now, "models": ["fake-chat"]},
            answer: {"id": answer, "parentId": question, "childrenIds": [], "role": "assistant", "content": self.words(20, 200),
                     "timestamp": now, "model": "fake-chat", "modelName": "fake-chat", "modelIdx": 0, "done": True}}

    def new_chat(self):
        last, messages = self.turn(None)
        folder = self.one(self.folders + [None])
        made = self.call("new chat", "POST", "chats/new", {"folder_id": folder, "chat": {
            "id": "", "title": self.words(2, 5), "models": ["fake-chat"], "params": {}, "tags": [], "files": [],
            "history": {"messages": messages, "currentId": last}, "messages": list(messages.values()), "timestamp": int(time.time() * 1000)}})
        if made:
            self.chats[made["id"]] = [folder, messages, last, []]

    def append(self):
        if chat := self.one(self.chats):
            state = self.chats[chat]
            last, messages = self.turn(state[2])
            if state[2] in state[1]:
                state[1][state[2]]["childrenIds"].append(next(iter(messages)))
            state[1].update(messages)
            state[2] = last
            self.call("append messages", "POST", f"chats/{chat}", {"chat": {
                "history": {"messages": state[1], "currentId": last}, "messages": list(state[1].values())}})

    def edit_message(self):
        if chat := self.one(self.chats):
            if message := self.one(self.chats[chat][1]):
                self.chats[chat][1][message]["content"] = text = self.words(1, 50)
                self.call("edit message", "POST", f"chats/{chat}/messages/{message}", {"content": text})

    def drop_message(self):
        """The newest answer only: the application mends the tree itself, and the next append sends it whole."""
        if chat := self.one(self.chats):
            state = self.chats[chat]
            if len(state[1]) > 2 and self.call("delete message", "DELETE", f"chats/{chat}/messages/{state[2]}") is not None:
                parent = state[1].pop(state[2])["parentId"]
                state[1][parent]["childrenIds"] = []
                state[2] = parent

    def rename(self):
        if chat := self.one(self.chats):
            self.call("rename chat", "POST", f"chats/{chat}", {"chat": {"title": self.words(2, 6)}})

    def archive(self):
        if chat := self.one(self.chats):
            self.call("archive chat", "POST", f"chats/{chat}/archive")

    def tag(self):
        if chat := self.one(self.chats):
            name = self.random.choice(("work", "todo", "数据", "Büro Köln"))
            if name not in self.chats[chat][3] and self.call("tag chat", "POST", f"chats/{chat}/tags", {"name": name}):
                self.chats[chat][3].append(name)

    def untag(self):
        if chat := self.one(self.chats):
            if name := self.one(self.chats[chat][3]):
                self.chats[chat][3].remove(name)
                self.call("untag chat", "DELETE", f"chats/{chat}/tags", {"name": name})

    def move(self):
        if chat := self.one(self.chats):
            self.chats[chat][0] = folder = self.one(self.folders + [None])
            self.call("move chat", "POST", f"chats/{chat}/folder", {"folder_id": folder})

    def drop_chat(self):
        if len(self.chats) > 3:
            chat = self.one(self.chats)
            del self.chats[chat]
            self.call("delete chat", "DELETE", f"chats/{chat}")

    def new_folder(self):
        if made := self.call("new folder", "POST", "folders/", {"name": f"{self.words(1, 3)} {self.random.getrandbits(32):x}"}):
            self.folders.append(made["id"])

    def drop_folder(self):
        if len(self.folders) > 2:
            folder = self.one(self.folders)
            self.folders.remove(folder)
            contents = self.random.random() < 0.5
            for chat in [c for c, state in self.chats.items() if state[0] == folder]:
                self.chats[chat][0] = None
                if contents:
                    del self.chats[chat]
            self.call("delete folder", "DELETE", f"folders/{folder}?delete_contents={str(contents).lower()}")

    # notes, memories, settings

    def note(self):
        return {"title": self.words(2, 5), "data": {"content": {"json": None, "html": "", "md": self.words(5, 80)}, "versions": [], "files": None}}

    def new_note(self):
        if made := self.call("new note", "POST", "notes/create", {**self.note(), "access_grants": []}):
            self.notes.append(made["id"])

    def change_note(self):
        if note := self.one(self.notes):
            self.call("change note", "POST", f"notes/{note}/update", self.note())

    def drop_note(self):
        if note := self.one(self.notes):
            self.notes.remove(note)
            self.call("delete note", "DELETE", f"notes/{note}/delete")

    def new_memory(self):
        if made := self.call("new memory", "POST", "memories/add", {"content": self.words(4, 20)}):
            self.memories.append(made["id"])

    def change_memory(self):
        if memory := self.one(self.memories):
            self.call("change memory", "POST", f"memories/{memory}/update", {"content": self.words(4, 20)})

    def drop_memory(self):
        if memory := self.one(self.memories):
            self.memories.remove(memory)
            self.call("delete memory", "DELETE", f"memories/{memory}")

    def settings(self):
        self.call("settings", "POST", "users/user/settings/update", {"ui": {"version": "0.12.4", "models": ["fake-chat"], "system": self.words(2, 20)}})

    # files and knowledge bases: {base: [files in it]}

    def upload(self):
        mark = f"{self.random.getrandbits(64):016x}"
        text = "\n\n".join(self.words(30, 120) for _ in range(self.random.randint(1, 12)))
        body = (f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{mark} ü.txt"\r\nContent-Type: text/plain\r\n\r\n'
                f"{text}\r\n--{mark}--\r\n").encode()
        made = self.call("upload file", "POST", "files/?process=true&process_in_background=false", form=(f"multipart/form-data; boundary={mark}", body))
        if made:
            self.files.append(made["id"])

    def rewrite_file(self):
        if file := self.one(self.files):
            self.call("rewrite file", "POST", f"files/{file}/data/content/update", {"content": self.words(20, 300)})

    def drop_file(self):
        if len(self.files) > 2:
            file = self.one(self.files)
            self.files.remove(file)
            for held in self.bases.values():
                if file in held:
                    held.remove(file)
            self.call("delete file", "DELETE", f"files/{file}")

    def new_base(self):
        made = self.call("new knowledge", "POST", "knowledge/create", {"name": self.words(2, 4), "description": self.words(2, 8), "access_grants": []})
        if made:
            self.bases[made["id"]] = []

    def add_to_base(self):
        base, file = self.one(self.bases), self.one(self.files)
        if base and file and file not in self.bases[base]:
            if self.call("add to knowledge", "POST", f"knowledge/{base}/file/add", {"file_id": file}):
                self.bases[base].append(file)

    def remove_from_base(self):
        base = self.one(b for b, held in self.bases.items() if held)
        if base:
            file = self.one(self.bases[base])
            self.bases[base].remove(file)
            gone = self.random.random() < 0.5
            if gone:
                self.files.remove(file)
                for held in self.bases.values():
                    if file in held:
                        held.remove(file)
            self.call("remove from knowledge", "POST", f"knowledge/{base}/file/remove?delete_file={str(gone).lower()}", {"file_id": file})

    def drop_base(self):
        if len(self.bases) > 2:
            base = self.one(self.bases)
            del self.bases[base]
            self.call("delete knowledge", "DELETE", f"knowledge/{base}/delete")


def people(url, data_dir, seed, phase, stopped):
    """Signs four people in and lets them begin."""
    server = compare.Server(url, str(data_dir))
    for email, _ in PEOPLE:
        server.sign_in(email, "Passw0rd!")
    them = [Person(server, email, admin, seed, phase, stopped) for email, admin in PEOPLE]
    for person in them:
        person.start()
    return them


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    them = people(*sys.argv[1:], 1, [""], threading.Event())
    for person in them:
        person.join()
    print(f"{sum(len(p.log) for p in them)} requests answered, {sum(len(p.refused) for p in them)} of them refused; "
          f"the people stopped at {them[0].failure}")

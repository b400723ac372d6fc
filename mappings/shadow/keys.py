#!/usr/bin/env python3
"""Writes keys.tsv: the keys of Open WebUI's config table and the environment variables
that give their defaults, the one that is asked for first before those that stand in for it, read from DEFAULT_CONFIG of open_webui/config.py (named by the
first argument). Nothing of Open WebUI is run."""
import ast
import sys

tree = ast.parse(open(sys.argv[1]).read())
assigned, config = {}, None
for statement in tree.body:
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "DEFAULT_CONFIG":
                config = node.value
            else:
                assigned.setdefault(node.targets[0].id, []).append(node.value)


def variables(value, depth=0):
    """The variables that an expression is made of, through other names of the module."""
    out = [n.args[0].value for n in ast.walk(value)
           if isinstance(n, ast.Call) and ast.unparse(n.func) in ("os.getenv", "os.environ.get")
           and n.args and isinstance(n.args[0], ast.Constant)]
    if not out and depth < 3:
        for n in ast.walk(value):
            if isinstance(n, ast.Name):
                for v in assigned.get(n.id, []):
                    out += variables(v, depth + 1)
    return out


print("# Made by keys.py of Open WebUI 0.12.4. Key of table config, variables that give its default.")
for key, value in sorted(zip(config.keys, config.values), key=lambda kv: kv[0].value):
    found = list(dict.fromkeys(variables(value)))
    if key.value.endswith(".api_configs"):  # made by a function that all of them share
        found = [value.id]
    if key.value == "openai.api_keys":
        found = ["OPENAI_API_KEYS", "OPENAI_API_KEY"]
    if len(found) > 5:  # user.permissions
        found = ["USER_PERMISSIONS_*"]
    if found:
        print(key.value + "\t" + " ".join(found))

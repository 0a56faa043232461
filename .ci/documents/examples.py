"""Checks every example and default of OpenAPI documents against its schema."""
import json, sys
from openapi_schema_validator import OAS31Validator

def main():
    bad = 0
    for path in sys.argv[1:]:
        document = json.load(open(path))
        n = 0
        def check(schema, value, where):
            nonlocal bad, n
            n += 1
            schema = {**schema, "components": document.get("components", {})}
            validator = OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER)
            for error in validator.iter_errors(value):
                bad += 1
                print(f"{path} {where}: {error.message[:200]}")
        def walk(node, where):
            if isinstance(node, list):
                for i, item in enumerate(node): walk(item, f"{where}/{i}")
            if not isinstance(node, dict): return
            if "schema" in node:
                values = [node["example"]] if "example" in node else []
                for example in node.get("examples", {}).values():
                    values.append(example["value"])
                for value in values: check(node["schema"], value, where)
            elif ("type" in node or "anyOf" in node or "oneOf" in node or "$ref" in node) :
                values = [node[k] for k in ("example", "default") if k in node]
                if isinstance(node.get("examples"), list): values += node["examples"]
                for value in values: check({k: v for k, v in node.items()}, value, where)
            for key, value in node.items():
                if key in ("example", "examples", "default", "enum", "const"): continue
                walk(value, f"{where}/{key}")
        walk(document, "#")
        print(f"{path}: {n} examples and defaults")
    sys.exit(bad > 0)
main()

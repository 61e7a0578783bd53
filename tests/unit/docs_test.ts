/** The documents say what the code says. */
import { assert, assertGreater } from "@std/assert";

const read = (path: string) =>
  Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));

Deno.test("docs/troubleshooting.md explains every error code", () => {
  const type = /type IxlErrorCode =([^;]*);/.exec(read("src/errors.ts"))![1];
  const codes = [...type.matchAll(/"([a-z-]+)"/g)].map(([, code]) => code);
  assertGreater(codes.length, 10);
  const text = read("docs/troubleshooting.md");
  for (const code of codes) assert(text.includes(`| \`${code}\``), code);
});

Deno.test("links between documents lead to files", () => {
  const documents = [
    ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
    ...[...Deno.readDirSync(new URL("../../docs/", import.meta.url))]
      .map(({ name }) => `docs/${name}`).filter((name) => name.endsWith(".md")),
  ];
  for (const path of documents) {
    const here = new URL(`../../${path}`, import.meta.url);
    for (const [, link] of read(path).matchAll(/\]\((\.{1,2}\/[^)#]+)/g)) {
      assert(
        Deno.statSync(new URL(link, here)) !== undefined,
        `${path}: ${link}`,
      );
    }
  }
});

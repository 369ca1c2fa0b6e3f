"""Several answers at once on an event loop; one is streamed, one is given up."""

import asyncio

from foredraft import AsyncLLM


async def main() -> None:
    async with AsyncLLM.load(slots=4) as llm:
        first, second = await asyncio.gather(
            llm.chat("What is 2 + 3?", temperature=0),
            llm.chat("What is 7 + 1?", temperature=0),
        )
        print(first, "|", second)

        async for piece in llm.chat("What is the quadratic equation formula?", temperature=0):
            print(piece, end="", flush=True)
        print()

        task = asyncio.create_task(llm.generate("Once upon a time", ignore_eos=True))
        await asyncio.sleep(0.05)
        task.cancel()  # the model stops, too
        print([answer.text for answer in await llm.chat(["What is 1 + 1?", "What is 2 + 2?"], temperature=0)])


asyncio.run(main())

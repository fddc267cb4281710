DROP TABLE "block_item"
-- next
DROP TABLE "block"
-- next
DROP TABLE "anchor"
